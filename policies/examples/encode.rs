//! Benchmark of encoding an observation of LIBERO-Spatial as the 88 numbers of `libero-lowdim-v1`: by terms bound to a schema, and by
//! code written by hand for this one body, as before cards named features.
//! The ways run in alternating blocks. Their numbers must be equal bit for bit.
//!
//! `cargo run --release -p aegis-policies --example encode`

#![allow(missing_docs, clippy::expect_used, reason = "a program, not a library")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aegis_core::{Feature, Observation, Schema};
use aegis_policies::inputs::VectorInput;
use aegis_policies::layout::{Layout, OBJECTS, TASKS};
use aegis_policies::vector::BoundVector;
use nalgebra::{Quaternion, UnitQuaternion};

const BLOCKS: usize = 200;
const BLOCK: usize = 20_000;

/// An observation as fields of one body, for the code written by hand.
struct Fields {
    joints: Vec<f64>,
    position: [f64; 3],
    orientation: [f64; 4],
    gripper: Vec<f64>,
    objects: Vec<(Arc<str>, [f64; 3], [f64; 4])>,
    task: usize,
}

fn rotation_columns([w, x, y, z]: [f64; 4]) -> [f64; 6] {
    let matrix = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z)).to_rotation_matrix();
    let matrix = matrix.matrix();
    [matrix[(0, 0)], matrix[(1, 0)], matrix[(2, 0)], matrix[(0, 1)], matrix[(1, 1)], matrix[(2, 1)]]
}

#[inline(never)]
fn by_hand(seen: &Fields, vector: &mut Vec<f32>) {
    fn push(vector: &mut Vec<f32>, values: &[f64]) {
        vector.extend(values.iter().map(|value| *value as f32));
    }
    vector.clear();
    assert!(seen.gripper.len() == 2 && seen.joints.len() == 7 && seen.task < TASKS, "it fits");
    push(vector, &seen.position);
    push(vector, &rotation_columns(seen.orientation));
    push(vector, &seen.gripper);
    push(vector, &seen.joints);
    for name in OBJECTS {
        let (_, position, orientation) =
            seen.objects.iter().find(|(other, ..)| **other == *name).expect("every object is there");
        push(vector, position);
        push(vector, &[0, 1, 2].map(|axis| position[axis] - seen.position[axis]));
        push(vector, &rotation_columns(*orientation));
    }
    vector.extend((0..TASKS).map(|task| f32::from(u8::from(task == seen.task))));
}

fn main() {
    let quaternion = UnitQuaternion::from_euler_angles(0.3, -0.2, 1.1).into_inner();
    let (xyz, xyzw) = (["x", "y", "z"], ["x", "y", "z", "w"]);
    let turned = [quaternion.i, quaternion.j, quaternion.k, quaternion.w];
    let mut features = vec![
        Feature::vector("joint_positions", &["1", "2", "3", "4", "5", "6", "7"], "rad"),
        Feature::vector("eef_position", &xyz, "m"),
        Feature::vector("eef_site_quaternion", &xyzw, ""),
        Feature::vector("gripper_positions", &["1", "2"], "m"),
    ];
    let mut values = [&[0.1; 7][..], &[-0.2, 0.01, 1.2], &turned, &[0.02, -0.02]].concat();
    for (index, name) in OBJECTS.iter().enumerate() {
        features.push(Feature::vector(format!("object/{name}/position"), &xyz, "m"));
        features.push(Feature::vector(format!("object/{name}/quaternion"), &xyzw, ""));
        values.extend([index as f64 * 0.1, 0.2, 0.9]);
        values.extend(turned);
    }
    let schema = Schema::new(features, Vec::new()).expect("it is valid");
    let mut seen = Observation::of(&[("any", &[0.0])]).expect("it is valid");
    (seen.schema, seen.values, seen.task) = (Arc::new(schema), values, 3);
    let [x, y, z, w] = turned;
    let fields = Fields {
        joints: vec![0.1; 7],
        position: [-0.2, 0.01, 1.2],
        orientation: [w, x, y, z],
        gripper: vec![0.02, -0.02],
        objects: (0_u8..)
            .zip(OBJECTS)
            .map(|(index, name)| (Arc::from(name), [f64::from(index) * 0.1, 0.2, 0.9], [w, x, y, z]))
            .collect(),
        task: 3,
    };
    let input = VectorInput {
        tensor: "observation".into(),
        shape: vec![1, 88],
        terms: Layout::LowDim.terms(),
        history: 1,
    };
    let mut bound = BoundVector::bind(&input, &seen.schema).expect("it fits");
    let (mut tensor, mut vector): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
    let mut encode = |seen: &Observation, tensor: &mut Vec<f32>| {
        tensor.clear();
        bound.encode(seen, tensor).expect("it fits");
    };
    encode(&seen, &mut tensor);
    by_hand(&fields, &mut vector);
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&tensor), bits(&vector), "the same numbers");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..BLOCKS {
        let begin = Instant::now();
        for _ in 0..BLOCK {
            encode(black_box(&seen), &mut tensor);
            black_box(&tensor);
        }
        times[0].push(begin.elapsed().as_nanos() as f64 / BLOCK as f64);
        let begin = Instant::now();
        for _ in 0..BLOCK {
            by_hand(black_box(&fields), &mut vector);
            black_box(&vector);
        }
        times[1].push(begin.elapsed().as_nanos() as f64 / BLOCK as f64);
    }
    for (name, times) in ["bound terms", "by hand"].iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((BLOCKS - 1) as f64 * share) as usize];
        println!(
            "{name:12} ns each, {BLOCKS} blocks of {BLOCK}: p10 {:.0}, median {:.0}, p90 {:.0}",
            at(0.1),
            at(0.5),
            at(0.9)
        );
    }
    println!("ratio of the medians: {:.2}", times[0][BLOCKS / 2] / times[1][BLOCKS / 2]);
    let begin = Instant::now();
    for _ in 0..1000 {
        black_box(BoundVector::bind(&input, black_box(&seen.schema)).is_ok());
    }
    println!("bind, once at start: {:.1} µs", begin.elapsed().as_secs_f64() * 1e3);
}
