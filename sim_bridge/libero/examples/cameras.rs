//! Prints the number of pictures of each size that a plant takes per second, and the time of the first pictures.
//! `cameras SUITE TASK PICTURES`

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use aegis_core::policy::{Plant, Start};
use aegis_sim::{Cameras, LiberoPlant, Suite};

/// Action that moves the arm, so that no two pictures are the same.
const REACH: [f32; 7] = [0.2, -0.4, -0.3, 0.1, 0.0, -0.3, 1.0];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [suite, task, pictures] = arguments.as_slice() else {
        return Err("usage: cameras SUITE TASK PICTURES".into());
    };
    let suite = Suite::load(Path::new(suite))?;
    let start = Start { task: task.parse()?, initial_state: 0 };
    let pictures: usize = pictures.parse()?;
    for size in [128, 256] {
        let cameras = Cameras::new(&Cameras::LIBERO, size, size)?;
        let mut plant = LiberoPlant::with_cameras(suite.clone(), cameras);
        plant.reset(start)?;
        let clock = Instant::now();
        let views = plant.frames()?.len();
        let first = clock.elapsed().as_secs_f64();
        let mut drawing = 0.0;
        for _ in 0..pictures.div_ceil(views) {
            plant.step(&REACH)?;
            let clock = Instant::now();
            plant.frames()?;
            drawing += clock.elapsed().as_secs_f64();
        }
        let rate = (pictures.div_ceil(views) * views) as f64 / drawing;
        println!("{size} px: {rate:.1} pictures/s from {views} cameras; the first ones took {first:.1} s");
    }
    Ok(())
}
