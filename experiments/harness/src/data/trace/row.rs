//! Rows of a trace: what one arm did at one control step.

/// Layout of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Control steps only.
    One = 1,
    /// Control steps, boundaries, state path and digests.
    Two = 2,
}

/// One control step of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the arm.
    pub arm: String,
    /// Control step, from 0.
    pub step: u32,
    /// Whether the strong policy drove.
    pub strong: bool,
    /// Whether the goal was reached after the step.
    pub success: bool,
    /// The action as sent, `[width]`.
    pub action: Vec<f32>,
    /// Position of the end effector after the step, `[3]`, metres, world frame.
    pub end_effector: [f64; 3],
    /// Score and decision, where a chunk begins with this step; `None` elsewhere and in layout 1.
    pub boundary: Option<Boundary>,
    /// Digest of the state path up to and including this step; zeros in layout 1.
    pub path: [u8; 16],
}

/// Score and decision at a boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// Whether the gate fired at this boundary.
    pub fired: bool,
    /// Whether the driver changed at this boundary.
    pub handed_over: bool,
    /// Score; NaN where the probe gave no number.
    pub score: f64,
    /// Digest of the state path before the chunk.
    pub prefix: [u8; 16],
}

impl Row {
    /// Returns the first column in which two rows differ, bit for bit.
    pub(super) fn column_that_differs(&self, other: &Self) -> Option<&'static str> {
        let bits = |row: &Self| row.action.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let boundary = |row: &Self| {
            row.boundary.map(|one| (one.fired, one.handed_over, one.score.to_bits(), one.prefix))
        };
        let equal = [
            ("arm", self.arm == other.arm),
            ("step", self.step == other.step),
            ("strong", self.strong == other.strong),
            ("boundary", boundary(self) == boundary(other)),
            ("action", bits(self) == bits(other)),
            ("path", self.path == other.path),
            ("end_effector", self.end_effector.map(f64::to_bits) == other.end_effector.map(f64::to_bits)),
            ("success", self.success == other.success),
        ];
        equal.into_iter().find(|(_, equal)| !equal).map(|(column, _)| column)
    }
}
