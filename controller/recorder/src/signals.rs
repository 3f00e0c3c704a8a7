//! Signals of the gate in a recording: score and thresholds over time, the driver, events, and a page of text. Infinite
//! values are left out of the plot, which cannot show them.

use crate::rerun::components::InterpolationMode;
use crate::rerun::{Color, RecordingStream, Scalars, SeriesLines, StateChange, StateConfiguration};
use crate::rerun::{TextDocument, TextLog, TextLogLevel};
use aegis_core::{ChunkRecord, Driver};

use crate::RecorderError;
use crate::episode::{Episode, driver_colour, driver_name};

/// State of both timelines after the end of an episode.
const OVER: &str = "over";

/// One line of the plot, constant from boundary to boundary. Colours are of Okabe and Ito's palette.
#[derive(Clone, Copy)]
pub struct Series {
    pub path: &'static str,
    name: &'static str,
    colour: (u8, u8, u8),
    width: f32,
}

/// The line of the score.
pub const SCORE: Series =
    Series { path: "gate/score", name: "score: risk of failure", colour: (204, 121, 167), width: 3.0 };

/// The lines of the thresholds that the score is checked against: to fire, and to hand back.
pub const THRESHOLDS: [Series; 2] = [
    Series { path: "gate/threshold", name: "fires above", colour: (213, 94, 0), width: 1.5 },
    Series { path: "gate/return_threshold", name: "may hand back below", colour: (0, 158, 115), width: 1.5 },
];

/// The line of the score of the twin, which the weak policy alone drove.
const TWIN_SCORE: Series = Series {
    path: "gate/twin_score",
    name: "score of the weak policy alone",
    colour: (150, 130, 150),
    width: 1.5,
};

/// Logs the style of a line.
pub fn style(stream: &RecordingStream, series: &Series) -> Result<(), RecorderError> {
    let (red, green, blue) = series.colour;
    let line = SeriesLines::new()
        .with_names([series.name])
        .with_colors([Color::from_rgb(red, green, blue)])
        .with_widths([series.width])
        .with_interpolation_mode(InterpolationMode::StepAfter);
    Ok(stream.log_static(series.path, &line)?)
}

/// Logs every entity under `gate`, `who`, `events` and `about`.
pub fn log(stream: &RecordingStream, episode: &Episode, twin: Option<&Episode>) -> Result<(), RecorderError> {
    stream.log_static("about", &TextDocument::from_markdown(page(episode, twin)))?;
    let [fire, hand_back] = THRESHOLDS;
    log_series(stream, episode, &SCORE, |record| record.decision.score.risk())?;
    log_series(stream, episode, &fire, |record| record.decision.thresholds.fire)?;
    log_series(stream, episode, &hand_back, |record| record.decision.thresholds.hand_back)?;
    if let Some(twin) = twin {
        log_series(stream, twin, &TWIN_SCORE, |record| record.decision.score.risk())?;
    }
    log_guard_end(stream, episode)?;
    log_states(stream, episode)?;
    for (step, event) in events(episode).into_iter().chain(twin.and_then(twin_end)) {
        episode.at(stream, step);
        stream.log("events", &TextLog::new(event.text).with_level(event.level).with_color(event.colour))?;
    }
    Ok(())
}

fn log_series(
    stream: &RecordingStream,
    episode: &Episode,
    series: &Series,
    value: fn(&ChunkRecord) -> f64,
) -> Result<(), RecorderError> {
    let finite = |record: &&ChunkRecord| value(record).is_finite();
    if !episode.chunks.iter().any(|record| finite(&record)) {
        return Ok(());
    }
    style(stream, series)?;
    let points = episode.chunks.iter().map(|record| (record.step, record));
    // A boundary's values are valid until the next boundary; those of the last boundary until the end.
    let end = episode.chunks.last().map(|record| (episode.length(), record));
    for (step, record) in points.chain(end).filter(|(_, record)| finite(record)) {
        episode.at(stream, step);
        stream.log(series.path, &Scalars::single(value(record)))?;
    }
    Ok(())
}

/// Logs the end of the guard as a vertical line: two values at one control step.
fn log_guard_end(stream: &RecordingStream, episode: &Episode) -> Result<(), RecorderError> {
    let path = "gate/guard_end";
    stream.log_static(
        path,
        &SeriesLines::new()
            .with_names(["guard ends: no fire before"])
            .with_colors([Color::from_rgb(140, 140, 140)])
            .with_widths([1.5]),
    )?;
    episode.at(stream, episode.info.guard_steps);
    for value in [0.0, 1.0] {
        stream.log(path, &Scalars::single(value))?;
    }
    Ok(())
}

/// Logs two state timelines: the driver, and what the gate may do.
fn log_states(stream: &RecordingStream, episode: &Episode) -> Result<(), RecorderError> {
    let drivers = [Driver::Weak, Driver::Strong];
    let over = Color::from_rgb(60, 60, 60);
    stream.log_static(
        "who/driver",
        &StateConfiguration::new()
            .with_values(drivers.map(driver_name).into_iter().chain([OVER]))
            .with_labels(
                drivers
                    .map(|driver| format!("{} policy drives", driver_name(driver)))
                    .into_iter()
                    .chain([OVER.to_owned()]),
            )
            .with_colors(drivers.map(driver_colour).into_iter().chain([over])),
    )?;
    stream.log_static(
        "who/gate",
        &StateConfiguration::new().with_values(["guard", "armed", "hold", "spent", OVER]).with_colors(
            [(110, 110, 110), (0, 114, 178), (0, 158, 115), (204, 121, 167)]
                .map(|(red, green, blue)| Color::from_rgb(red, green, blue))
                .into_iter()
                .chain([over]),
        ),
    )?;
    let mut last = (None, None);
    for record in &episode.chunks {
        let decision = &record.decision;
        // In shadow mode the gate holds without handing over.
        let gate = match decision.wanted {
            Driver::Strong => "hold",
            Driver::Weak if decision.guarded => "guard",
            Driver::Weak if !decision.armed => "spent",
            Driver::Weak => "armed",
        };
        episode.at(stream, record.step);
        if last.0.replace(decision.driver) != Some(decision.driver) {
            stream.log("who/driver", &StateChange::single(driver_name(decision.driver)))?;
        }
        if last.1.replace(gate) != Some(gate) {
            stream.log("who/gate", &StateChange::single(gate))?;
        }
    }
    // The end is marked, because a twin may last longer than the episode.
    episode.at(stream, episode.length());
    for ribbon in ["who/driver", "who/gate"] {
        stream.log(ribbon, &StateChange::single(OVER))?;
    }
    Ok(())
}

struct Event {
    text: String,
    level: &'static str,
    colour: Color,
}

/// Returns the events of an episode in order, by control steps taken.
fn events(episode: &Episode) -> Vec<(u32, Event)> {
    let mut events = Vec::new();
    let mut push = |step, text: String, level, colour| events.push((step, Event { text, level, colour }));
    let grey = Color::from_rgb(160, 160, 160);
    for record in &episode.chunks {
        let decision = &record.decision;
        let step = record.step;
        if decision.score.is_flagged() {
            let text = "the activation held a NaN: counts as the highest risk".into();
            push(step, text, TextLogLevel::ERROR, Color::from_rgb(213, 94, 0));
        }
        if decision.fired {
            let why = match decision.reading {
                Some(reading) => format!("{reading:.3} is above {:.3}", decision.thresholds.fire),
                None => "by schedule".into(),
            };
            let text = format!("fire: {why}; fires left: {}", decision.budget_left);
            push(step, text, TextLogLevel::WARN, Color::from_rgb(213, 94, 0));
        }
        if decision.handed_over {
            let text = match decision.driver {
                Driver::Strong => "hand-over: the strong policy drives",
                Driver::Weak => "hand-back: the weak policy drives",
            };
            push(step, text.into(), TextLogLevel::INFO, driver_colour(decision.driver));
        }
    }
    match episode.success() {
        Some(step) => {
            push(step, "success: the goal holds".into(), TextLogLevel::INFO, Color::from_rgb(0, 158, 115))
        }
        None => push(episode.length(), "end: the goal was not reached".into(), TextLogLevel::INFO, grey),
    }
    // An episode may end before its disturbance.
    if let Some(disturbance) = episode.info.disturbance.filter(|one| one.step < episode.length()) {
        push(disturbance.step, disturbance.to_string(), TextLogLevel::WARN, Color::from_rgb(204, 121, 167));
        events.sort_by_key(|(step, _)| *step);
    }
    events
}

/// Returns the event that ends the twin; `None` for a twin without control steps.
fn twin_end(twin: &Episode) -> Option<(u32, Event)> {
    let colour = driver_colour(Driver::Weak);
    let (step, text) = match twin.success() {
        Some(step) => (step, "the weak policy alone: the goal holds"),
        None => (twin.length(), "the weak policy alone: the goal was not reached"),
    };
    (step > 0).then(|| (step, Event { text: text.into(), level: TextLogLevel::INFO, colour }))
}

fn page(episode: &Episode, twin: Option<&Episode>) -> String {
    let info = &episode.info;
    let outcome = |episode: &Episode| match episode.success() {
        Some(step) => format!("success after {step} control steps"),
        None => format!("no success within {} control steps", episode.length()),
    };
    let twin = twin.map_or(String::new(), |twin| {
        format!(
            "**The weak policy alone, from the same start:** {}, the same until the gate fires  \n",
            outcome(twin)
        )
    });
    let disturbance = info
        .disturbance
        .map_or(String::new(), |one| format!("**Disturbance:** {one}, at control step {}  \n", one.step));
    let fires = episode.chunks.iter().filter(|record| record.decision.fired).count();
    let strong = episode.steps.iter().filter(|step| step.driver == Driver::Strong).count();
    format!(
        "## {instruction}\n\
         **Episode:** {title}  \n\
         **Outcome:** {outcome}  \n\
         {twin}{disturbance}\
         **Help:** gate fired {fires} ×; the strong policy drove {strong} of {length} control steps\n\n\
         **How to read it.** The cheap **weak** policy (orange) drives. Every {chunk} control steps a probe reads its \
         activations and gives a **score**, the risk of failure. When the score passes the threshold, after the guard \
         (step {guard}), the gate **fires** and the **strong** policy (blue) takes over.\n\n\
         - *3D*: thin line, the way of the end effector so far, coloured by who drove; thick lines, where each policy means to \
         go next\n\
         - *Score*: read at every chunk boundary, held until the next\n\
         - *Who drives*: top, the driver; below, the gate: guard (may not fire), armed, hold, spent (no fires left)\n",
        instruction = info.instruction,
        title = info.title,
        outcome = outcome(episode),
        length = episode.length(),
        chunk = info.chunk_steps,
        guard = info.guard_steps,
    )
}
