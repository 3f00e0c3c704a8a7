//! Rerun recording of a controller's run: score and thresholds, mode, commands, timing and events, period by period. Drawn
//! from a record, or live during the run.

use std::time::Duration;

use crate::rerun::components::InterpolationMode;
use crate::rerun::{
    Color, EncodedImage, RecordingStream, RecordingStreamBuilder, Scalars, SeriesLines, StateChange,
};
use crate::rerun::{StateConfiguration, TextDocument, TextLog, TextLogLevel};
use aegis_core::control::{CallPhase, Diagnostics, Mode, TickRecord};

use crate::pictures::{PictureReader, RecordedPicture};
use crate::run_log::{RunHeader, RunReader};
use crate::run_scene::{RunScene, SceneResolver};
use crate::signals::{SCORE, THRESHOLDS, style};
use crate::sink::{Sink, Target, begin};
use crate::snapshots::{PlantSnapshot, SnapshotReader};
use crate::{APPLICATION, RecorderError, layout};

/// Colour of each mode: grey, and colours of Okabe and Ito's palette, which can be told apart with any colour vision.
const MODES: [(Mode, (u8, u8, u8)); 6] = [
    (Mode::Idle, (110, 110, 110)),
    (Mode::Weak, (230, 159, 0)),
    (Mode::Strong, (86, 180, 233)),
    (Mode::Holding, (240, 228, 66)),
    (Mode::SafeStop, (213, 94, 0)),
    (Mode::EStop, (204, 121, 167)),
];
const TIMING: [&str; 5] = ["late", "decision", "observation_age", "weak_inference", "strong_inference"];

/// Drawer of a run, one control period after another.
///
/// There are four timelines: `run_time` is the time since the run's clock began, `period` counts control periods,
/// `control_step` counts the control steps of the episode, and `wall_time` is the date and time, for people.
pub struct RunView {
    stream: RecordingStream,
    scene: RunScene,
    began_ns: i64,
    number: i64,
    before: Mode,
    notices: Diagnostics,
    call: CallPhase,
    limited: bool,
}

impl RunView {
    /// Opens a live view of a run. `stage` finds the plant's scenes. Data that a viewer does not accept in time is missing
    /// from that viewer only.
    ///
    /// # Errors
    /// [`RecorderError::Viewer`] for an address at which no viewer listens; otherwise what Rerun reports.
    pub fn live(
        target: &Target,
        header: &RunHeader,
        stage: Box<dyn SceneResolver>,
    ) -> Result<Self, RecorderError> {
        let builder = RecordingStreamBuilder::new(APPLICATION).recording_id(name(header)).enabled(true);
        let stream = target.connect(builder)?;
        begin(&stream, &name(header))?;
        Self::new(stream, header, true, stage)
    }

    fn new(
        stream: RecordingStream,
        header: &RunHeader,
        has_sights: bool,
        stage: Box<dyn SceneResolver>,
    ) -> Result<Self, RecorderError> {
        let settings = &header.recipe.settings;
        let cameras: Vec<&str> = settings.cameras.iter().map(|camera| &*camera.name).collect();
        layout::send_run(&stream, settings.rate_hz, has_sights, &cameras)?;
        let scene = RunScene::new(&stream, stage)?;
        stream.log_static("about", &TextDocument::from_markdown(page(header)))?;
        for series in [SCORE].into_iter().chain(THRESHOLDS) {
            style(&stream, &series)?;
        }
        for channel in 0..header.recipe.rest.len() {
            let line = SeriesLines::new().with_names([format!("channel {channel}")]);
            let line = line.with_interpolation_mode(InterpolationMode::StepAfter);
            stream.log_static(command(channel), &line)?;
        }
        for name in TIMING {
            let line = SeriesLines::new().with_names([name.replace('_', " ")]);
            stream.log_static(format!("timing/{name}"), &line)?;
        }
        let modes = StateConfiguration::new()
            .with_values(MODES.map(|(mode, _)| format!("{mode:?}")))
            .with_colors(MODES.map(|(_, (red, green, blue))| Color::from_rgb(red, green, blue)));
        stream.log_static("who/mode", &modes)?;
        let number = i64::try_from(header.first).unwrap_or(i64::MAX);
        let (before, notices, call) = (Mode::Idle, Diagnostics::default(), CallPhase::Quiet);
        Ok(Self {
            stream,
            scene,
            began_ns: header.began_unix_ns,
            number,
            before,
            notices,
            call,
            limited: false,
        })
    }

    /// Draws a control period. Of a period at rest between episodes, neither commands nor timing are drawn.
    ///
    /// # Errors
    /// What Rerun reports.
    pub fn take(&mut self, period: &TickRecord<'_>) -> Result<(), RecorderError> {
        let (inputs, output) = (&period.inputs, &period.output);
        self.at(inputs.now, output.step);
        self.number += 1;
        if output.mode != self.before || self.number == 1 {
            self.stream.log("who/mode", &StateChange::single(format!("{:?}", output.mode)))?;
        }
        if output.mode.is_on() || output.send {
            for (channel, value) in period.command.iter().enumerate() {
                self.stream.log(command(channel), &Scalars::single(f64::from(*value)))?;
            }
            self.time(period)?;
        }
        if let Some(decision) = &output.decision {
            let values = [decision.score.risk(), decision.thresholds.fire, decision.thresholds.hand_back];
            for (series, value) in [SCORE].into_iter().chain(THRESHOLDS).zip(values) {
                if value.is_finite() {
                    self.stream.log(series.path, &Scalars::single(value))?;
                }
            }
        }
        for (text, level) in self.events(period) {
            self.stream.log("events", &TextLog::new(text).with_level(level))?;
        }
        self.before = output.mode;
        (self.notices, self.limited) = (output.notices, output.limited != 0);
        self.call = output.call.as_ref().map_or(CallPhase::Quiet, |report| report.phase);
        Ok(())
    }

    /// Draws a snapshot of the plant, in the colour of the present mode.
    ///
    /// # Errors
    /// What Rerun reports.
    pub fn see(&mut self, sight: &PlantSnapshot) -> Result<(), RecorderError> {
        self.at(Duration::from_nanos(sight.now_ns), sight.step);
        let (_, (red, green, blue)) =
            MODES.into_iter().find(|(mode, _)| *mode == self.before).unwrap_or(MODES[0]);
        self.scene.take(&self.stream, sight, Color::from_rgb(red, green, blue))
    }

    /// Draws a picture that a policy read.
    ///
    /// # Errors
    /// What Rerun reports.
    pub fn picture(&mut self, picture: RecordedPicture) -> Result<(), RecorderError> {
        self.at(Duration::from_nanos(picture.now_ns), picture.step);
        let image = EncodedImage::new(picture.png).with_media_type("image/png");
        Ok(self.stream.log(layout::camera(&picture.camera), &image)?)
    }

    fn at(&self, now: Duration, step: u32) {
        self.stream.set_duration_secs("run_time", now.as_secs_f64());
        self.stream.set_time_sequence("period", self.number);
        self.stream.set_time_sequence("control_step", i64::from(step));
        let since = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.stream.set_timestamp_nanos_since_epoch("wall_time", self.began_ns.saturating_add(since));
    }

    fn time(&self, period: &TickRecord<'_>) -> Result<(), RecorderError> {
        let inputs = &period.inputs;
        let age = inputs.observation.map(|seen| seen.age(inputs.now));
        let inference = [&inputs.weak, &inputs.strong].map(|reply| reply.as_ref().map(|reply| reply.took));
        let nanoseconds = |nanoseconds| Some(Duration::from_nanos(nanoseconds));
        let times =
            [nanoseconds(period.late_ns), nanoseconds(period.took_ns), age, inference[0], inference[1]];
        for (name, time) in TIMING.into_iter().zip(times) {
            if let Some(time) = time {
                self.stream.log(format!("timing/{name}"), &Scalars::single(time.as_secs_f64() * 1e6))?;
            }
        }
        Ok(())
    }

    /// Returns the events that began in this period, with their log levels.
    fn events(&self, period: &TickRecord<'_>) -> Vec<(String, &'static str)> {
        let output = &period.output;
        let mut events = Vec::new();
        if let Some(decision) = output.decision.as_ref().filter(|decision| decision.fired) {
            let (risk, threshold) = (decision.score.risk(), decision.thresholds.fire);
            let left = decision.budget_left;
            let text = format!("fire: risk {risk:.3}, threshold {threshold:.3}; fires left: {left}");
            events.push((text, TextLogLevel::WARN));
        }
        if output.mode != self.before {
            let cause = output.cause.map_or(String::new(), |cause| format!(": {cause:?}"));
            let level = if output.mode.is_latched() { TextLogLevel::ERROR } else { TextLogLevel::INFO };
            events.push((format!("{:?} → {:?}{cause}", self.before, output.mode), level));
        }
        if let Some(report) = output.call.as_ref().filter(|report| report.phase != self.call) {
            let text = match report.phase {
                CallPhase::Quiet => format!("call {} is over", report.call),
                CallPhase::Called => format!("call {}: an operator is called", report.call),
                CallPhase::Driving => format!("call {}: an operator drives", report.call),
                CallPhase::Released => format!("call {}: the operator has let go", report.call),
            };
            events.push((text, TextLogLevel::WARN));
        }
        if output.limited != 0 && !self.limited {
            let channels = (0..64).filter(|channel| output.limited >> channel & 1 == 1);
            let channels = channels.map(|channel| channel.to_string()).collect::<Vec<_>>().join(", ");
            events.push((format!("commands are limited: channels {channels}"), TextLogLevel::INFO));
        }
        for (notice, text) in Diagnostics::ALL {
            if output.notices.has(notice) && !self.notices.has(notice) {
                events.push((text.to_owned(), TextLogLevel::WARN));
            }
        }
        events
    }
}

/// Draws a recorded run. `sights` are the snapshots of its plant, `pictures` what its policies read, and `stage` finds the plant's
/// scenes. Returns the number of control periods in the record.
///
/// # Errors
/// What the record, Rerun or the file system reports.
pub fn draw(
    mut reader: RunReader,
    (sights, pictures): (Option<SnapshotReader>, Option<PictureReader>),
    stage: Box<dyn SceneResolver>,
    sink: Sink,
) -> Result<u64, RecorderError> {
    let header = reader.header.clone();
    let mut periods = 0;
    let wrong = |period: u64, reason: String| RecorderError::Record { period, reason };
    sink.draw(&name(&header), |stream| {
        let mut view = RunView::new(stream.clone(), &header, sights.is_some(), stage)?;
        let mut sights = sights.into_iter().flatten().peekable();
        let mut pictures = pictures.into_iter().flatten().peekable();
        while let Some(bytes) = reader.next_period().map_err(|error| wrong(periods, error.to_string()))? {
            let period: TickRecord<'_> =
                rmp_serde::from_slice(&bytes).map_err(|error| wrong(periods, error.to_string()))?;
            let now = u64::try_from(period.inputs.now.as_nanos()).unwrap_or(u64::MAX);
            // A black box holds only the end of a run: snapshots from before it began are left out.
            let begins = periods == 0 && header.first > 0;
            while let Some(sight) = sights.next_if(|sight| sight.now_ns < now) {
                if !begins {
                    view.see(&sight)?;
                }
            }
            while let Some(picture) = pictures.next_if(|picture| picture.now_ns < now) {
                if !begins {
                    view.picture(picture)?;
                }
            }
            view.take(&period)?;
            periods += 1;
        }
        Ok(())
    })?;
    Ok(periods)
}

fn name(header: &RunHeader) -> String {
    format!("run of {} · {}", header.plant, header.began_unix_ns)
}

fn command(channel: usize) -> String {
    format!("command/{channel}")
}

fn page(header: &RunHeader) -> String {
    let settings = &header.recipe.settings;
    let models: String =
        header.digests.iter().map(|(role, digest)| format!("- {role}: `{digest:.16}…`\n")).collect();
    let part = if header.first > 0 { format!(", from period {} on", header.first) } else { String::new() };
    format!(
        "## A run of {plant}\n\
         {rate} control periods per second{part}; recorded by aegis {program}\n\n{models}\n\
         - *Plant*: its end effector's way in the colour of the mode, with the robot where its scene is known\n\
         - *Mode*: who drives, and every stop\n\
         - *Score*: read at every boundary; above the threshold the gate fires\n\
         - *Commands*: as they were sent, by channel\n\
         - *Timing*: how late each period began, how long its decision took, the age of what it saw, and inferences\n",
        plant = header.plant,
        rate = settings.rate_hz,
        program = header.program,
    )
}
