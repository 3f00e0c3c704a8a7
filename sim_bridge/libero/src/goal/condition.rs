//! Evaluation of one predicate as in upstream: contacts, poses and joint positions in, true or false out.
//! Source: LIBERO, `envs/object_states/base_object_states.py` and `envs/objects/site_object.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mujoco_rs::prelude::{MjData, MjModel};
use nalgebra::{Matrix3, Vector3};

use crate::task::{Limit, Side};

/// Distance below which an object is centred on its support: between their origins, in the table's plane, metres.
const ON_DISTANCE: f64 = 0.03;
/// Depth below the top of a region down to which an object's origin counts as on the region, metres.
const ON_DEPTH: f64 = 0.005;
/// Height above the top of a region up to which an object's origin counts as on the region, metres.
const ON_HEIGHT: f64 = 0.10;
/// Depth below a region down to which an object's origin counts as in the region, metres.
const IN_DEPTH: f64 = 0.01;

/// A predicate whose names are resolved to indices of a model.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// The object is not lower than its support, touches it, and is centred within [`ON_DISTANCE`].
    OnObject { object: Item, support: Item },
    /// The object's origin is just above the region, and the object touches the region's parent, where there is one.
    OnRegion { object: Item, region: Region, parent: Option<BTreeSet<i32>> },
    /// The object's origin is within the region.
    InRegion { body: usize, region: Region },
    /// Every joint, or at least one, is past the limit. Addresses are in `qpos`.
    Joints { addresses: Vec<usize>, limit: Limit, every: bool },
}

/// An object: its body for the position, and its geoms for contacts.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub body: usize,
    pub geoms: BTreeSet<i32>,
}

/// A box that a site marks.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub site: usize,
    /// Half of the box's extent along the site's axes, metres.
    pub half_size: Vector3<f64>,
}

impl Condition {
    pub(super) fn holds(&self, data: &MjData<Arc<MjModel>>) -> bool {
        let position = |body: usize| Vector3::from(data.xpos()[body]);
        match self {
            Self::OnObject { object, support } => {
                let (above, below) = (position(object.body), position(support.body));
                below.z <= above.z
                    && ((below.x - above.x).powi(2) + (below.y - above.y).powi(2)).sqrt() < ON_DISTANCE
                    && touch(data, &object.geoms, &support.geoms)
            }
            Self::OnRegion { object, region, parent } => {
                let (centre, axes) = region.pose(data);
                on_top(&centre, &axes, &region.half_size, &position(object.body))
                    && parent.as_ref().is_none_or(|parent| touch(data, parent, &object.geoms))
            }
            Self::InRegion { body, region } => {
                let (centre, axes) = region.pose(data);
                inside(&centre, &axes, &region.half_size, &position(*body))
            }
            Self::Joints { addresses, limit, every } => {
                let mut past = addresses.iter().map(|address| limit.passed(data.qpos()[*address]));
                if *every { past.all(|past| past) } else { past.any(|past| past) }
            }
        }
    }
}

impl Region {
    fn pose(&self, data: &MjData<Arc<MjModel>>) -> (Vector3<f64>, Matrix3<f64>) {
        (data.site_xpos()[self.site].into(), Matrix3::from_row_slice(&data.site_xmat()[self.site]))
    }
}

impl Limit {
    /// Returns whether a joint at `position` is on the limit's side.
    pub(crate) fn passed(&self, position: f64) -> bool {
        let beyond = match self.side {
            Side::Below => position < self.value,
            Side::Above => position > self.value,
        };
        beyond || (self.inclusive && position == self.value)
    }
}

/// Returns whether any contact is between the two sets of geoms.
fn touch(data: &MjData<Arc<MjModel>>, some: &BTreeSet<i32>, others: &BTreeSet<i32>) -> bool {
    data.contact().iter().any(|contact| {
        let [first, second] = contact.geom;
        (some.contains(&first) && others.contains(&second))
            || (some.contains(&second) && others.contains(&first))
    })
}

/// Returns whether a point is in the slab at a region's top. This is upstream's `under`, which rotates the offset by the
/// site's matrix instead of its inverse; for rotated sites the slab is therefore not above the box.
fn on_top(
    centre: &Vector3<f64>,
    axes: &Matrix3<f64>,
    half_size: &Vector3<f64>,
    point: &Vector3<f64>,
) -> bool {
    let offset = axes * (point - centre);
    half_size.z - ON_DEPTH < offset.z
        && offset.z < half_size.z + ON_HEIGHT
        && offset.x.abs() < half_size.x
        && offset.y.abs() < half_size.y
}

/// Returns whether a point is in the box, aligned with the world frame, that upstream's `in_box` makes of a region. For a
/// rotated site the box's half size is the absolute value of the rotated half size, which can be thinner than the region.
fn inside(
    centre: &Vector3<f64>,
    axes: &Matrix3<f64>,
    half_size: &Vector3<f64>,
    point: &Vector3<f64>,
) -> bool {
    let extent = (axes * half_size).abs();
    let high = centre + extent;
    let mut low = centre - extent;
    low.z -= IN_DEPTH;
    (0..3).all(|axis| low[axis] < point[axis] && point[axis] < high[axis])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Vector3<f64> = Vector3::new(0.2, 0.1, 0.05);

    fn quarter_turn() -> Matrix3<f64> {
        Matrix3::new(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    }

    #[test]
    fn a_region_holds_what_is_between_its_faces_and_a_little_below() {
        let inside = |x, y, z| {
            inside(&Vector3::new(1.0, 0.0, 0.0), &Matrix3::identity(), &HALF, &Vector3::new(x, y, z))
        };
        assert!(inside(1.0, 0.0, -0.059));
        assert!(!inside(1.0, 0.0, -0.061));
        assert!(inside(1.19, 0.09, 0.049));
        assert!(!inside(1.19, 0.09, 0.051));
        assert!(!inside(1.0, 0.1, 0.0), "a face is outside");
        assert!(!inside(f64::NAN, 0.0, 0.0));
    }

    #[test]
    fn a_turned_region_is_a_turned_diagonal() {
        let inside = |x, y| inside(&Vector3::zeros(), &quarter_turn(), &HALF, &Vector3::new(x, y, 0.0));
        assert!(inside(0.05, 0.15));
        assert!(!inside(0.15, 0.05));
    }

    #[test]
    fn on_a_region_is_above_its_top_and_within_its_sides() {
        let on = |x, y, z| on_top(&Vector3::zeros(), &Matrix3::identity(), &HALF, &Vector3::new(x, y, z));
        assert!(on(0.19, -0.09, 0.046));
        assert!(!on(0.0, 0.0, 0.045), "the lower bound is outside");
        assert!(on(0.0, 0.0, 0.149) && !on(0.0, 0.0, 0.151));
        assert!(!on(0.21, 0.0, 0.1) && !on(0.0, 0.11, 0.1));
    }

    #[test]
    fn a_limit_itself_counts_only_as_in_upstream() {
        let limit = |side, inclusive| Limit { side, value: 0.5, inclusive };
        assert!(!limit(Side::Below, false).passed(0.5) && limit(Side::Below, false).passed(0.49));
        assert!(limit(Side::Above, true).passed(0.5) && !limit(Side::Above, true).passed(0.49));
        assert!(!limit(Side::Above, true).passed(f64::NAN));
    }
}
