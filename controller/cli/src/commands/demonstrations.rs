//! `aegis demonstrations import`: reads LIBERO's own demonstration files, observes every recorded state in the native simulator,
//! and plays the recorded actions again to say how many reach the goal here.

use std::path::PathBuf;
use std::sync::Arc;

use aegis_core::feature::{Feature, Schema};
use aegis_core::{Frame, Observation};
use aegis_experiments::run::demonstrations::{Demonstration, write};
use aegis_files::Written;
use aegis_policies::layout::Layout;
use aegis_sim::demonstration_file::{self, DemonstrationFile};
use aegis_sim::{LiberoPlant, Suite};
use clap::{Args, Subcommand};
use ndarray::Array2;

use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::check_place;
use crate::progress;
use crate::suites::load_suite;

/// Verbs of `aegis demonstrations`.
#[derive(Subcommand)]
pub enum DemonstrationsVerb {
    /// Turn LIBERO's demonstration files (HDF5) into the file that `policies/train` reads
    Import(ImportArguments),
}

/// Arguments of `aegis demonstrations import`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis demonstrations import *_demo.hdf5 --out runs/human.safetensors\n  \
                  aegis demonstrations import goal/*.hdf5 --suite libero_goal --layout features --out runs/goal.safetensors"
)]
pub struct ImportArguments {
    /// LIBERO's files, one for each task, such as TASK_demo.hdf5
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Suite that the tasks are of, by its name in the cache
    #[arg(long, value_name = "NAME", default_value = "libero_spatial")]
    suite: String,
    /// Where the demonstrations go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Vector of each step: libero-lowdim-v1 (needs the objects of LIBERO-Spatial), libero-proprio-v1, or features: all that the
    /// simulator announces, in its order, the same in every task of the files
    #[arg(long, value_name = "NAME", default_value = Layout::LowDim.name(), value_parser = vector)]
    layout: Vector,
    /// Also keep the pictures, those before every N control steps
    #[arg(long, value_name = "N")]
    frames_every: Option<std::num::NonZeroUsize>,
}

/// Vector that is kept of each step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vector {
    Layout(Layout),
    Features,
}

const FEATURES: &str = "features";

fn vector(text: &str) -> Result<Vector, String> {
    if text == FEATURES {
        return Ok(Vector::Features);
    }
    Layout::named(text).map(Vector::Layout).ok_or_else(|| {
        let names: Vec<_> = Layout::ALL.into_iter().map(Layout::name).collect();
        format!("valid is {} or {FEATURES}", names.join(", "))
    })
}

/// Runs a verb of `aegis demonstrations`.
pub fn run(verb: &DemonstrationsVerb) -> Result<(), Failure> {
    match verb {
        DemonstrationsVerb::Import(arguments) => import(arguments),
    }
}

fn import(arguments: &ImportArguments) -> Result<(), Failure> {
    let inputs: Vec<_> = arguments.files.iter().map(PathBuf::as_path).collect();
    check_place("--out", &arguments.out, Written::Tensors, &inputs)?;
    let suite = load_suite(&arguments.suite, None)?;
    let mut files = Vec::new();
    for path in &arguments.files {
        let file = DemonstrationFile::open(path).or_exit(Exit::Input)?;
        let task = file.task(&suite).or_exit(Exit::Input)?;
        files.push((path, task, file));
    }
    let bar = progress::bar("demonstrations", files.iter().map(|(_, _, file)| file.count()).sum());
    let mut importer =
        Importer { plant: LiberoPlant::new(suite.clone()), arguments, schema: None, unaligned: 0 };
    let mut all: Vec<(usize, Demonstration)> = Vec::new();
    let mut lines = Vec::new();
    for (path, task, file) in &files {
        let mut reached = 0;
        for index in 0..file.count() {
            let (demonstration, again) =
                importer.read(&suite, *task, file, index).map_err(|error| error.prefixed(path.display()))?;
            all.push((*task, demonstration));
            reached += usize::from(again);
            bar.inc();
        }
        let count = file.count();
        lines.push(format!(
            "{}: task {task}, {count} demonstrations; {reached} reach the goal when their actions are played again here",
            path.display()
        ));
    }
    bar.finish_and_clear();
    let demonstrations = all.iter().map(|(task, demonstration)| (*task, demonstration));
    let names = importer.schema.as_ref().map(components);
    write(&arguments.out, demonstrations, names.as_deref()).or_exit(Exit::Failed)?;
    if importer.unaligned > 0 {
        tell!(
            "{} demonstrations have no joint positions beside their pictures; the pictures are taken to be of the state before each action",
            importer.unaligned
        );
    }
    for line in lines {
        say!("{line}");
    }
    say!("{}: {} demonstrations", arguments.out.display(), all.len());
    Ok(())
}

/// Simulator in which recorded states are observed, with what is the same for all demonstrations.
struct Importer<'a> {
    plant: LiberoPlant,
    arguments: &'a ImportArguments,
    /// Features of the first step, where the vector is made of all features.
    schema: Option<Arc<Schema>>,
    /// Demonstrations with pictures for which nothing says which state their pictures show.
    unaligned: usize,
}

impl Importer<'_> {
    /// Reads one demonstration. Also returns whether its actions reach the goal here, from its first state.
    fn read(
        &mut self,
        suite: &Suite,
        task: usize,
        file: &DemonstrationFile,
        index: usize,
    ) -> Result<(Demonstration, bool), Failure> {
        let width = suite.task(task).map_or(0, |info| 1 + info.nq + info.nv);
        let pictured = self.arguments.frames_every;
        let recorded = file.read(index, width, pictured.is_some()).or_exit(Exit::Input)?;
        let of = |error: String| failure(Exit::Input, format!("{}: {error}", recorded.name));
        let mut steps = Vec::with_capacity(recorded.states.nrows());
        let mut joints = Vec::new();
        for (state, action) in recorded.states.rows().into_iter().zip(recorded.actions.rows()) {
            let observation =
                self.plant.reset_from(task, &state.to_vec()).map_err(|error| of(error.to_string()))?;
            joints.extend(observation.feature("joint_positions").unwrap_or_default());
            let vector = self.vector(&observation).map_err(of)?;
            steps.push((vector, action.iter().map(|value| *value as f32).collect()));
        }
        let frames = match pictured {
            None => Vec::new(),
            Some(every) => {
                let seen = Array2::from_shape_vec((steps.len(), joints.len() / steps.len()), joints)
                    .map_err(|error| of(error.to_string()))?;
                let first = recorded.first_pictured(&seen);
                self.unaligned += usize::from(first.is_none());
                frames(&recorded, first.unwrap_or(0), every.get())
            }
        };
        let again = self.plays_again(task, &recorded).map_err(of)?;
        Ok((Demonstration::recorded(steps, frames), again))
    }

    fn vector(&mut self, observation: &Observation) -> Result<Vec<f32>, String> {
        match self.arguments.layout {
            Vector::Layout(layout) => layout.encode(observation).map_err(|error| {
                format!("{error}; `--layout {FEATURES}` keeps whatever the simulator announces")
            }),
            Vector::Features => {
                let schema = self.schema.get_or_insert_with(|| Arc::clone(&observation.schema));
                // The features of a task are the same object at every step, so names are compared where a task begins.
                if !Arc::ptr_eq(schema, &observation.schema)
                    && components(schema) != components(&observation.schema)
                {
                    return Err(format!(
                        "--layout {FEATURES}: expected the features of the first task, found others: tasks of different \
                         scenes need a file each"
                    ));
                }
                Ok(observation.values.iter().map(|value| *value as f32).collect())
            }
        }
    }

    fn plays_again(
        &mut self,
        task: usize,
        recorded: &demonstration_file::Demonstration,
    ) -> Result<bool, String> {
        let first = recorded.states.row(0).to_vec();
        self.plant.reset_from(task, &first).map_err(|error| error.to_string())?;
        for action in recorded.actions.rows() {
            let moved = self.plant.apply(&action.to_vec()).map_err(|error| error.to_string())?;
            if moved.success {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the name of every component of a schema's vectors, as `feature.component`.
fn components(schema: &Arc<Schema>) -> Vec<String> {
    let names = |feature: &Feature| {
        let owner = Arc::clone(&feature.name);
        feature.names.clone().into_iter().map(move |name| format!("{owner}.{name}"))
    };
    schema.ranges().flat_map(|(feature, _)| names(feature)).collect()
}

/// Returns the pictures of every `every`th step, those of a step together. `first` is the step of the first recorded picture.
fn frames(recorded: &demonstration_file::Demonstration, first: usize, every: usize) -> Vec<(usize, Frame)> {
    let steps = (first..recorded.states.nrows()).filter(|step| step.is_multiple_of(every));
    let at = |step: usize| {
        recorded.pictures.iter().filter_map(move |pictures| {
            let frame = Frame {
                camera: pictures.camera.into(),
                width: pictures.size[1] as u32,
                height: pictures.size[0] as u32,
                rgb: pictures.step(step - first)?.to_vec(),
            };
            Some((step, frame))
        })
    };
    steps.flat_map(at).collect()
}
