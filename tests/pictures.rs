//! Runs the script that makes the README's pictures: a recovered episode of the registered study opens in the pinned viewer, and
//! the colours of the viewer's picture are checked. Needs a Vulkan driver and Chromium.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    fn open(path: &Path) -> Self {
        let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!(frame.color_type, png::ColorType::Rgb, "{}", path.display());
        let pixels = bytes.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Self { width: frame.width, height: frame.height, pixels }
    }

    /// Counts the pixels of a part of the picture whose colour satisfies `wanted(r, g, b)`. `x` and `y` are ranges in fractions
    /// of the picture's width and height.
    fn count(&self, x: [f64; 2], y: [f64; 2], wanted: impl Fn(i32, i32, i32) -> bool) -> usize {
        let within = |at: u32, side: u32, part: [f64; 2]| {
            let share = f64::from(at) / f64::from(side);
            (part[0]..part[1]).contains(&share)
        };
        let pixels = self.pixels.iter().zip(0_u32..).filter(|(_, at)| {
            within(at % self.width, self.width, x) && within(at / self.width, self.height, y)
        });
        pixels.filter(|([r, g, b], _)| wanted((*r).into(), (*g).into(), (*b).into())).count()
    }
}

/// Returns whether a colour is the weak policy's orange, in any brightness that the viewer shades it with.
fn orange(r: i32, g: i32, b: i32) -> bool {
    r > 120 && g > r / 2 && g < r * 4 / 5 && b < r / 3
}

/// Returns whether a colour is the strong policy's blue.
fn blue(r: i32, g: i32, b: i32) -> bool {
    b > 120 && g > b / 2 && g < b && r < b * 3 / 5
}

#[test]
fn a_recovered_episode_opens_in_the_viewer_and_the_report_in_a_browser() {
    let out = common::folder("pictures");
    let script = common::repository().join("docs/pictures/pictures.sh");
    let made = Command::new(script).arg(&out).env("AEGIS", env!("CARGO_BIN_EXE_aegis")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let seen = Picture::open(&out.join("handover.png"));
    assert_eq!((seen.width, seen.height), (1600, 900));
    let everywhere = [0.0, 1.0];
    // Two white robots on tables, before a dark background.
    for (name, x) in [("robot", [0.0, 0.3]), ("twin", [0.3, 0.6])] {
        let white = seen.count(x, [0.1, 0.75], |r, g, b| r.min(g).min(b) > 200);
        assert!(white > 5_000, "{name}: {white} white pixels");
        assert!(seen.count(x, [0.1, 0.75], orange) > 200, "{name}: the weak policy's way");
    }
    assert!(seen.count([0.0, 0.3], [0.1, 0.75], blue) > 200, "the strong policy's way");
    assert_eq!(seen.count([0.31, 0.59], [0.1, 0.75], blue), 0, "the twin had no help");
    // The ribbon shows who drove: weak, strong, weak again.
    for (what, colour) in [("weak", orange as fn(i32, i32, i32) -> bool), ("strong", blue)] {
        let ribbon = seen.count([0.0, 0.6], [0.78, 0.96], colour);
        assert!(ribbon > 2_000, "{what}: {ribbon} pixels of the ribbon");
    }
    let colours: BTreeSet<_> = seen.pixels.iter().collect();
    assert!(colours.len() > 50, "{} colours", colours.len());

    let report = Picture::open(&out.join("report.png"));
    assert_eq!(report.width, 1000);
    let drawn = report.count(everywhere, everywhere, |r, g, b| b > 150 && r < 60 && g < 150);
    assert!(drawn > 1_000, "{drawn} pixels of its figures");
}

#[test]
fn a_recording_of_an_episode_to_the_horizon_with_its_twin_stays_small() {
    let folder = common::folder("recording-size");
    common::unpack(
        &common::repository().join("experiments/study/episodes.sqlite.gz"),
        &folder.join("episodes.sqlite"),
    );
    let recording = folder.join("lost.rrd");
    let mut replay = common::aegis();
    replay.arg("replay").arg(&folder).args(["--episode", "0/627", "--rrd"]).arg(&recording);
    replay.arg("--plan").arg(common::repository().join("experiments/study.toml"));
    common::succeeds(&mut replay);
    let bytes = std::fs::metadata(recording).unwrap().len();
    assert!(bytes < 5_000_000, "{bytes} bytes");
}
