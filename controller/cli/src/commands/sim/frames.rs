//! `--frames`: writes the pictures of the cameras along a rollout as PNG files.
//! Without this argument no plant has cameras, and OpenGL is not opened.

use std::path::{Path, PathBuf};

use aegis_core::{Frame, Plant};
use aegis_sim::{Cameras, LiberoPlant, Suite};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit};
use crate::files::write;

/// Arguments of a verb that can write pictures.
#[derive(Args)]
pub struct FrameArguments {
    /// Write pictures of the agent's and the wrist's camera to this folder, as step000_agentview.png and so on
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Width and height of a picture in pixels; policies are trained on 128 and 256
    #[arg(long, value_name = "N", default_value_t = 128, requires = "frames",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(aegis_sim::camera::MAX_HEIGHT)))]
    frame_size: u32,
    /// Control steps from one picture to the next
    #[arg(long, value_name = "N", default_value_t = 1, requires = "frames",
          value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
}

impl FrameArguments {
    /// Builds a plant, with cameras where pictures are to be written.
    pub fn plant(&self, suite: Suite) -> Result<LiberoPlant, Failure> {
        if self.frames.is_none() {
            return Ok(LiberoPlant::new(suite));
        }
        let cameras = Cameras::new(&Cameras::LIBERO, self.frame_size, self.frame_size);
        Ok(LiberoPlant::with_cameras(suite, cameras.or_exit(Exit::Input)?))
    }

    /// Writes the pictures after control step `step`, if they are due.
    pub fn write(&self, plant: &mut LiberoPlant, step: usize) -> Result<(), Failure> {
        let Some(folder) = &self.frames else { return Ok(()) };
        if !step.is_multiple_of(self.every as usize) {
            return Ok(());
        }
        for frame in plant.frames().or_exit(Exit::Setup)? {
            write_png(&folder.join(format!("step{step:03}_{}.png", frame.camera)), &frame)?;
        }
        Ok(())
    }
}

fn write_png(path: &Path, frame: &Frame) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&frame.rgb))
        .or_exit(Exit::Failed)?;
    write(path, &bytes)
}
