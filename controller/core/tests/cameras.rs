//! Reactions of the controller to faults of each camera, one control period at a time, on a simulated rig.

use std::borrow::Cow;
use std::time::Duration;

use crate::support::{PERIOD, Rig, parts};
use aegis_core::control::{
    CameraInputs, CameraSettings, ControlError, Controller, ControllerParts, Diagnostics, FrameFault,
    FrameStamp, Inputs, Mode, Output, StopReason,
};

const NAMES: [&str; 2] = ["front", "wrist"];
/// Age of a frame when it arrives.
const ON_ITS_WAY: Duration = Duration::from_millis(60);

fn with_cameras() -> ControllerParts {
    let mut parts = parts();
    let camera = |name: &str| CameraSettings {
        name: name.into(),
        max_age_ms: 300.0,
        max_skew_ms: 30.0,
        frozen_ms: 400.0,
    };
    parts.settings.cameras = NAMES.map(camera).into();
    parts
}

/// Two cameras that deliver a frame in every second period.
#[derive(Clone, Debug)]
struct Filming {
    sequence: [u32; 2],
    fault: [Option<FrameFault>; 2],
    is_lost: [bool; 2],
    is_frozen: [bool; 2],
    is_paired: bool,
    episode: u64,
}

impl Filming {
    fn new() -> Self {
        Self {
            sequence: [0; 2],
            fault: [None; 2],
            is_lost: [false; 2],
            is_frozen: [false; 2],
            is_paired: true,
            episode: 1,
        }
    }

    fn frames(&mut self, now: Duration) -> CameraInputs<'static> {
        let mut frames = Vec::new();
        for camera in 0..2 {
            if self.is_lost[camera] {
                continue;
            }
            self.sequence[camera] += 1;
            frames.push(FrameStamp {
                camera: camera as u32,
                episode: self.episode,
                sequence: self.sequence[camera],
                arrived: 1,
                received: now,
                taken: now - ON_ITS_WAY,
                digest: if self.is_frozen[camera] { 7 } else { u64::from(self.sequence[camera]) },
                fault: self.fault[camera],
            });
        }
        let complete = self.is_paired.then(|| now - ON_ITS_WAY);
        CameraInputs { frames: Cow::Owned(frames), episode: self.episode, complete }
    }

    /// Serves a number of periods.
    fn run(&mut self, rig: &mut Rig, periods: u32) -> Vec<Output> {
        let one = |period: u32| {
            rig.cameras = period.is_multiple_of(2).then(|| self.frames(rig.now + PERIOD));
            rig.tick()
        };
        (0..periods).map(one).collect()
    }
}

fn stopped(outputs: &[Output]) -> Option<(Option<StopReason>, usize)> {
    let place = outputs.iter().position(|output| output.mode == Mode::SafeStop)?;
    Some((outputs[place].cause, place))
}

#[test]
fn an_episode_runs_while_every_camera_delivers() {
    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    let outputs = film.run(&mut rig, 120);
    assert_eq!(stopped(&outputs), None);
    assert_eq!(rig.controller.counters().weak_periods, 100);
    for notice in [Diagnostics::CAMERA_STALE, Diagnostics::UNPAIRED, Diagnostics::CAMERA_GAP] {
        assert_eq!(rig.controller.counters().of(notice), 0);
    }
}

#[test]
fn a_camera_that_is_lost_late_blank_of_another_size_or_frozen_stops_the_robot() {
    type Fault = fn(&mut Filming, usize);
    let faults: [(&str, Fault, Option<Diagnostics>); 6] = [
        ("lost", |film, camera| film.is_lost[camera] = true, None),
        (
            "blank",
            |film, camera| film.fault[camera] = Some(FrameFault::Blank),
            Some(Diagnostics::CAMERA_REFUSED),
        ),
        (
            "size",
            |film, camera| film.fault[camera] = Some(FrameFault::WrongSize),
            Some(Diagnostics::CAMERA_REFUSED),
        ),
        (
            "bytes",
            |film, camera| film.fault[camera] = Some(FrameFault::Unreadable),
            Some(Diagnostics::CAMERA_REFUSED),
        ),
        (
            "time",
            |film, camera| film.fault[camera] = Some(FrameFault::TimeBackward),
            Some(Diagnostics::CAMERA_REFUSED),
        ),
        ("frozen", |film, camera| film.is_frozen[camera] = true, Some(Diagnostics::CAMERA_FROZEN)),
    ];
    for (name, fault, notice) in faults {
        for camera in 0..2 {
            let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
            assert_eq!(stopped(&film.run(&mut rig, 10)), None);
            fault(&mut film, camera);
            let outputs = film.run(&mut rig, 40);
            let (cause, after) = stopped(&outputs).unwrap_or_else(|| panic!("{name} of camera {camera}"));
            assert_eq!(cause, Some(StopReason::CameraStale), "{name}");
            // 300 ms of age and 3 periods, and 400 ms more until frames count as frozen.
            assert!(after <= if name == "frozen" { 19 } else { 10 }, "{name}: after {after} periods");
            let counters = rig.controller.counters();
            assert!(counters.of(Diagnostics::CAMERA_STALE) > 0, "{name}");
            assert!(notice.is_none_or(|notice| counters.of(notice) > 0), "{name}");
            assert_eq!(counters.of(Diagnostics::STALE), 0, "the observations themselves were young");
        }
    }
}

#[test]
fn frames_and_observation_of_different_times_stop_the_robot() {
    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    film.run(&mut rig, 10);
    film.is_paired = false;
    let (cause, _) = stopped(&film.run(&mut rig, 20)).unwrap();
    assert_eq!(cause, Some(StopReason::CameraStale));
    let counters = rig.controller.counters();
    assert!(counters.of(Diagnostics::UNPAIRED) > 0);
    assert_eq!(counters.of(Diagnostics::CAMERA_STALE), 0, "each camera delivers");
}

#[test]
fn no_policy_is_asked_on_a_stale_picture() {
    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    film.run(&mut rig, 10);
    film.is_lost[1] = true;
    let outputs = film.run(&mut rig, 40);
    let stale = |output: &&Output| output.notices.has(Diagnostics::CAMERA_STALE);
    assert!(outputs.iter().filter(stale).count() >= 3);
    assert!(
        outputs.iter().filter(stale).all(|output| output.ask_weak.is_none() && output.ask_strong.is_none())
    );
}

#[test]
fn frames_that_came_before_the_start_count_and_those_of_another_episode_do_not() {
    let (mut rig, mut film) = (Rig::new(with_cameras()), Filming::new());
    film.run(&mut rig, 3);
    rig.wishes.start = Some(1);
    film.is_lost = [true; 2];
    let begun = film.run(&mut rig, 2);
    assert!(begun[0].ask_weak.is_some(), "the frames that wait are young enough");
    assert!(begun.iter().all(|output| !output.notices.has(Diagnostics::CAMERA_STALE)));

    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    film.episode = 0;
    let outputs = film.run(&mut rig, 10);
    assert!(outputs[0].notices.has(Diagnostics::FOREIGN_OBSERVATION));
    assert_eq!(stopped(&outputs).unwrap().0, Some(StopReason::CameraStale));
}

#[test]
fn frames_that_are_missing_or_repeated_are_counted() {
    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    film.run(&mut rig, 4);
    film.sequence[0] += 3;
    let outputs = film.run(&mut rig, 2);
    assert!(outputs[0].notices.has(Diagnostics::CAMERA_GAP));
    assert_eq!(rig.controller.counters().missing_frames, 3);
    film.sequence[1] -= 1;
    assert!(film.run(&mut rig, 1)[0].notices.has(Diagnostics::DUPLICATE));
    assert_eq!(rig.controller.counters().stops, 0);
}

#[test]
fn a_record_of_a_run_with_cameras_is_a_record_of_the_run() {
    let (mut rig, mut film) = (Rig::started(with_cameras()), Filming::new());
    let mut outputs = film.run(&mut rig, 30);
    film.is_lost[0] = true;
    outputs.extend(film.run(&mut rig, 30));
    let mut again = Controller::new(with_cameras()).unwrap();
    for (inputs, output) in rig.record.iter().zip(&outputs) {
        let text = serde_json::to_string(inputs).unwrap();
        let read: Inputs<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(again.tick(&read), *output);
    }
}

#[test]
fn a_record_of_a_run_without_cameras_is_what_it_was() {
    let mut rig = Rig::started(parts());
    rig.run(3);
    assert!(!serde_json::to_string(&rig.record).unwrap().contains("cameras"));
    assert!(!serde_json::to_string(&parts().settings).unwrap().contains("cameras"));
}

#[test]
fn settings_of_a_camera_that_cannot_work_are_refused_by_their_key() {
    type Change = fn(&mut Vec<CameraSettings>);
    let cases: [(Change, &str); 5] = [
        (|cameras| cameras[1].max_age_ms = 0.0, "control.cameras[1].max_age_ms"),
        (|cameras| cameras[0].max_skew_ms = -1.0, "control.cameras[0].max_skew_ms"),
        (|cameras| cameras[0].frozen_ms = f64::NAN, "control.cameras[0].frozen_ms"),
        (|cameras| cameras[1].name = "front".into(), "control.cameras[1].name"),
        (
            |cameras| {
                let more = |index| CameraSettings { name: format!("more{index}"), ..cameras[0].clone() };
                *cameras = (0..9).map(more).collect();
            },
            "control.cameras",
        ),
    ];
    for (change, field) in cases {
        let mut parts = with_cameras();
        change(&mut parts.settings.cameras);
        match Controller::new(parts).err() {
            Some(ControlError::Setting { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}
