//! Placement of a task's objects at a reset, drawn from a generator as in upstream: joints first, then one object after
//! another. Pure. Source: LIBERO, `envs/regions` and `envs/bddl_base_domain.py`, as `python/placements.py` exports them.

use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::error::SuiteError;
use crate::model_lookup::Names;
use crate::task::placements::{
    AnchorInfo, Axis, Footprint, ObjectPlacementInfo, PlacedPose, PlacementsInfo, StepInfo,
};

/// Number of positions that upstream tries for one object before it abandons the reset.
const TRIES: u32 = 5000;

/// Description of the placements with every name resolved to an index.
#[derive(Clone, Debug)]
pub(crate) struct Placements {
    /// Address in `qpos` and posture (radians) of each arm joint.
    arm: Vec<(usize, f64)>,
    arm_noise_sd: f64,
    gripper: Vec<(usize, f64)>,
    articulation: Vec<Articulation>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Articulation {
    /// Addresses in `qpos`.
    addresses: Vec<usize>,
    low: f64,
    high: f64,
}

#[derive(Clone, Debug)]
enum Step {
    Fixture(Footprint, PlacedPose),
    Object { address: usize, anchor: Anchor, how: Box<ObjectPlacementInfo> },
}

/// Anchor of a placement; `reference` is the index of an earlier step.
#[derive(Clone, Debug)]
enum Anchor {
    Point([f64; 3]),
    Object { reference: usize },
    Site { reference: usize, site: Site, from_top: bool },
}

/// A site whose position is read from the model after the joints are drawn.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub site: usize,
    pub body: usize,
    home: PlacedPose,
}

/// Error: no free position for an object was found within the number of tries that upstream makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Placements {
    /// Resolves joints, bodies and sites in the model.
    pub fn bind(
        names: &Names<'_>,
        info: &PlacementsInfo,
        arm: &[usize],
        gripper: &[usize],
    ) -> Result<Self, SuiteError> {
        names.size("placements.arm", info.arm.len(), arm.len())?;
        names.size("placements.gripper", info.gripper.len(), gripper.len())?;
        let articulation = info
            .articulation
            .iter()
            .map(|one| {
                let addresses = one
                    .joints
                    .iter()
                    .map(|joint| names.qpos_address("placements.articulation.joints", joint))
                    .collect::<Result<_, _>>()?;
                Ok(Articulation { addresses, low: one.low, high: one.high })
            })
            .collect::<Result<_, SuiteError>>()?;
        let mut known: Vec<&str> = Vec::new();
        let mut steps = Vec::new();
        for step in &info.sequence {
            let (name, step) = match step {
                StepInfo::Fixture { name, footprint, pose } => (name, Step::Fixture(*footprint, *pose)),
                StepInfo::Object(how) => {
                    if how.ranges.is_empty() {
                        return Err(names.wrong("placements.sequence.ranges", "none", "at least one"));
                    }
                    let address = names.qpos_address("placements.sequence.joint", &how.joint)?;
                    let anchor = Anchor::bind(names, &how.anchor, &known)?;
                    (&how.name, Step::Object { address, anchor, how: how.clone() })
                }
            };
            known.push(name);
            steps.push(step);
        }
        let zip = |addresses: &[usize], values: &[f64]| {
            addresses.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>()
        };
        Ok(Self {
            arm: zip(arm, &info.arm),
            arm_noise_sd: info.arm_noise_sd,
            gripper: zip(gripper, &info.gripper),
            articulation,
            steps,
        })
    }

    /// Draws the joints of articulated objects and the arm, and writes them and the gripper's posture into `qpos`.
    pub fn draw_joints(&self, generator: &mut impl Rng, qpos: &mut [f64]) {
        for one in &self.articulation {
            let value = uniform(generator, one.low, one.high);
            for address in &one.addresses {
                qpos[*address] = value;
            }
        }
        for (address, posture) in &self.arm {
            let noise: f64 = StandardNormal.sample(generator);
            qpos[*address] = posture + self.arm_noise_sd * noise;
        }
        for (address, posture) in &self.gripper {
            qpos[*address] = *posture;
        }
    }

    /// Returns the sites that positions are relative to, in the order of the steps.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.steps.iter().filter_map(|step| match step {
            Step::Object { anchor: Anchor::Site { site, .. }, .. } => Some(site),
            _ => None,
        })
    }

    /// Draws the pose of every object and writes it into `qpos`. `local` has the position of each of [`Self::sites`] in the
    /// frame of the site's body, for the joints as drawn.
    pub fn draw_objects(
        &self,
        generator: &mut impl Rng,
        local: &[Vector3<f64>],
        qpos: &mut [f64],
    ) -> Result<(), Crowded> {
        let mut local = local.iter();
        let mut placed: Vec<(Footprint, PlacedPose)> = Vec::new();
        for step in &self.steps {
            let (footprint, pose) = match step {
                Step::Fixture(footprint, pose) => (*footprint, *pose),
                Step::Object { address, anchor, how } => {
                    let base = anchor.position(&placed, &mut local);
                    let pose = how.draw(generator, base, &placed)?;
                    qpos[*address..address + 3].copy_from_slice(&pose.position);
                    qpos[address + 3..address + 7].copy_from_slice(&pose.orientation);
                    (how.footprint, pose)
                }
            };
            placed.push((footprint, pose));
        }
        Ok(())
    }
}

impl Anchor {
    fn bind(names: &Names<'_>, info: &AnchorInfo, known: &[&str]) -> Result<Self, SuiteError> {
        let earlier = |reference: &str| {
            known.iter().position(|name| *name == reference).ok_or_else(|| {
                names.wrong("placements.sequence.anchor.reference", reference, "something placed earlier")
            })
        };
        Ok(match info {
            AnchorInfo::Point { position } => Self::Point(*position),
            AnchorInfo::Object { reference } => Self::Object { reference: earlier(reference)? },
            AnchorInfo::OnSite(site) | AnchorInfo::InSite(site) => Self::Site {
                reference: earlier(&site.reference)?,
                from_top: matches!(info, AnchorInfo::OnSite(_)),
                site: Site {
                    site: names.site("placements.sequence.anchor.site", &site.site)?,
                    body: names.body("placements.sequence.anchor.body", &site.body)?,
                    home: PlacedPose { position: site.home_position, orientation: site.home_orientation },
                },
            },
        })
    }

    fn position<'a>(
        &self,
        placed: &[(Footprint, PlacedPose)],
        local: &mut impl Iterator<Item = &'a Vector3<f64>>,
    ) -> Vector3<f64> {
        match self {
            Self::Point(position) => Vector3::from(*position),
            Self::Object { reference } => {
                let (footprint, pose) = placed[*reference];
                Vector3::from(pose.position) + Vector3::z() * footprint.top
            }
            Self::Site { reference, site, from_top } => {
                let (footprint, pose) = placed[*reference];
                let local = local.next().copied().unwrap_or_default();
                let home = Vector3::from(site.home.position) + rotation(site.home.orientation) * local;
                let top = if *from_top { footprint.top } else { 0.0 };
                Vector3::from(pose.position) + rotation(pose.orientation) * home + Vector3::z() * top
            }
        }
    }
}

impl ObjectPlacementInfo {
    fn draw(
        &self,
        generator: &mut impl Rng,
        base: Vector3<f64>,
        placed: &[(Footprint, PlacedPose)],
    ) -> Result<PlacedPose, Crowded> {
        for _ in 0..TRIES {
            let range = self.ranges[generator.random_range(0..self.ranges.len())];
            let along = |generator: &mut _, [low, high]: [f64; 2]| {
                uniform(generator, low + self.inset, high - self.inset)
            };
            let x = along(generator, range.x) + base.x;
            let y = along(generator, range.y) + base.y;
            let position = [x, y, self.z_offset + base.z - self.footprint.bottom];
            if self.keep_clear && placed.iter().any(|other| self.footprint.overlaps(position, *other)) {
                continue;
            }
            return Ok(PlacedPose { position, orientation: self.orientation(generator) });
        }
        Err(Crowded)
    }

    fn orientation(&self, generator: &mut impl Rng) -> [f64; 4] {
        let mut turned = Quaternion::identity();
        for turn in &self.turns {
            let half = uniform(generator, turn.low, turn.high) / 2.0;
            let axis = match turn.axis {
                Axis::X => Vector3::x(),
                Axis::Y => Vector3::y(),
                Axis::Z => Vector3::z(),
            };
            turned = Quaternion::from_parts(half.cos(), axis * half.sin()) * turned;
        }
        let [x, y, z, w] = turned.coords.into();
        if self.scalar_last { [x, y, z, w] } else { [w, x, y, z] }
    }
}

impl Footprint {
    /// Returns upstream's overlap check with `self` at `position`: too near in the plane, and not entirely above the other.
    fn overlaps(&self, position: [f64; 3], (other, pose): (Footprint, PlacedPose)) -> bool {
        let [x, y, z] = position;
        let [other_x, other_y, other_z] = pose.position;
        (x - other_x).hypot(y - other_y) <= other.radius + self.radius
            && z - other_z <= other.top - self.bottom
    }
}

/// Draws uniformly by NumPy's formula, which also accepts bounds in the wrong order.
fn uniform(generator: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * generator.random::<f64>()
}

fn rotation([w, x, y, z]: [f64; 4]) -> UnitQuaternion<f64> {
    UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::placements::{Rectangle, Turn};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const FOOTPRINT: Footprint = Footprint { radius: 0.025, bottom: -0.06, top: 0.04 };

    fn how(x: [f64; 2], y: [f64; 2]) -> ObjectPlacementInfo {
        ObjectPlacementInfo {
            name: "bowl".into(),
            footprint: FOOTPRINT,
            joint: "bowl_joint0".into(),
            ranges: vec![Rectangle { x, y }],
            inset: 0.0,
            keep_clear: true,
            z_offset: 0.01,
            turns: Vec::new(),
            scalar_last: false,
            anchor: AnchorInfo::Point { position: [0.0; 3] },
        }
    }

    fn object(address: usize, anchor: Anchor, how: ObjectPlacementInfo) -> Step {
        Step::Object { address, anchor, how: Box::new(how) }
    }

    fn draw(steps: Vec<Step>, local: &[Vector3<f64>], seed: u64) -> Result<Vec<[f64; 7]>, Crowded> {
        let mut qpos = vec![0.0; 7 * steps.len()];
        let placements = Placements {
            arm: Vec::new(),
            arm_noise_sd: 0.0,
            gripper: Vec::new(),
            articulation: Vec::new(),
            steps,
        };
        placements.draw_objects(&mut ChaCha8Rng::seed_from_u64(seed), local, &mut qpos)?;
        Ok(qpos.as_chunks().0.to_vec())
    }

    fn near(found: &[f64], exact: &[f64]) -> bool {
        found.len() == exact.len() && found.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn places_fill_their_ranges_and_stand_on_the_anchor() {
        let mut how = how([-0.01, 0.01], [0.2, 0.3]);
        // The bounds cross: ±0.01 moved inwards by 0.025 is ∓0.015.
        how.inset = 0.025;
        let places: Vec<_> = (0..500)
            .map(|seed| {
                draw(vec![object(0, Anchor::Point([1.0, 0.0, 0.9]), how.clone())], &[], seed).unwrap()[0]
            })
            .collect();
        let bounds = |axis: usize| {
            places.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], place| {
                [low.min(place[axis]), high.max(place[axis])]
            })
        };
        let [low, high] = bounds(0);
        assert!((0.985..0.986).contains(&low) && (1.014..1.015).contains(&high), "{low} {high}");
        let [low, high] = bounds(1);
        assert!((0.225..0.226).contains(&low) && (0.274..0.275).contains(&high), "{low} {high}");
        assert!(places.iter().all(|place| near(&place[2..], &[0.97, 1.0, 0.0, 0.0, 0.0])));
    }

    #[test]
    fn every_range_of_several_is_drawn_from() {
        let mut how = how([0.0, 0.1], [0.0, 0.0]);
        how.ranges.push(Rectangle { x: [5.0, 5.1], y: [0.0, 0.0] });
        let far = (0..200)
            .filter(|seed| {
                draw(vec![object(0, Anchor::Point([0.0; 3]), how.clone())], &[], *seed).unwrap()[0][0] > 1.0
            })
            .count();
        assert!((70..130).contains(&far), "{far}");
    }

    #[test]
    fn objects_keep_clear_of_one_another_or_are_crowded_out() {
        let point = || Anchor::Point([0.0; 3]);
        // For every position of the first object there is a free position for another.
        let range = [-0.06, 0.06];
        for seed in 0..100 {
            let steps = vec![object(0, point(), how(range, range)), object(7, point(), how(range, range))];
            let places = draw(steps, &[], seed).unwrap();
            let [first, second] = [places[0], places[1]];
            assert!((first[0] - second[0]).hypot(first[1] - second[1]) > 0.05);
        }
        let narrow = [-0.01, 0.01];
        let steps = vec![object(0, point(), how(narrow, narrow)), object(7, point(), how(narrow, narrow))];
        assert_eq!(draw(steps, &[], 0), Err(Crowded));
        // An object may be above another where it is high enough or need not keep clear.
        let mut above = how(narrow, narrow);
        above.z_offset = 0.2;
        let steps = vec![object(0, point(), how(narrow, narrow)), object(7, point(), above)];
        assert!(draw(steps, &[], 0).is_ok());
        let mut heedless = how(narrow, narrow);
        heedless.keep_clear = false;
        let steps = vec![object(0, point(), how(narrow, narrow)), object(7, point(), heedless)];
        assert!(draw(steps, &[], 0).is_ok());
    }

    #[test]
    fn anchors_are_the_top_of_a_thing_or_a_site_turned_with_it() {
        let place = PlacedPose { position: [1.0, 2.0, 0.5], orientation: [0.0, 0.0, 0.0, 1.0] };
        let mut how = how([0.0, 0.0], [0.0, 0.0]);
        how.keep_clear = false;
        let put = |anchor| {
            let steps = vec![Step::Fixture(FOOTPRINT, place), object(0, anchor, how.clone())];
            draw(steps, &[Vector3::new(0.1, 0.0, 0.2)], 0).unwrap()[0]
        };
        let lift = 0.01 + 0.06;
        assert!(near(&put(Anchor::Object { reference: 0 })[..3], &[1.0, 2.0, 0.54 + lift]));
        let home = PlacedPose { position: [0.0, 0.3, 0.0], orientation: [1.0, 0.0, 0.0, 0.0] };
        let site = |from_top| Anchor::Site { reference: 0, site: Site { site: 0, body: 0, home }, from_top };
        assert!(near(&put(site(false))[..3], &[0.9, 1.7, 0.7 + lift]));
        assert!(near(&put(site(true))[..3], &[0.9, 1.7, 0.74 + lift]));
    }

    #[test]
    fn turns_compose_in_order_and_keep_the_layout_of_upstream() {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, PI};
        let turn = |axis, angle| Turn { axis, low: angle, high: angle };
        let mut how = how([0.0, 0.0], [0.0, 0.0]);
        let orientation = |how: &ObjectPlacementInfo| {
            draw(vec![object(0, Anchor::Point([0.0; 3]), how.clone())], &[], 0).unwrap()[0][3..].to_vec()
        };
        how.turns = vec![turn(Axis::X, FRAC_PI_2)];
        assert!(near(&orientation(&how), &[FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0]));
        how.scalar_last = true;
        assert!(near(&orientation(&how), &[FRAC_1_SQRT_2, 0.0, 0.0, FRAC_1_SQRT_2]));
        how.turns = vec![turn(Axis::X, PI), turn(Axis::Z, FRAC_PI_2)];
        // The rotation about z is applied second and multiplies from the left: (w, z) times x gives x and y.
        assert!(near(&orientation(&how), &[FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0]));
    }
}
