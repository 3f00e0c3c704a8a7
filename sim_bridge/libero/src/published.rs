//! Suites that LIBERO publishes, and where public evaluations end their episodes.

/// Name of each suite, and the number of control steps after which public evaluations end an episode of it; source: openpi,
/// `examples/libero/main.py`.
const SUITES: [(&str, u32); 5] = [
    ("libero_spatial", 220),
    ("libero_object", 280),
    ("libero_goal", 300),
    ("libero_10", 520),
    ("libero_90", 400),
];

/// Returns the names of the suites that LIBERO publishes. Variants of them, such as `libero_object_swap`, are not among them.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|(name, _)| *name)
}

/// Returns the number of control steps after which public evaluations end an episode of this suite, or of the one that it is a
/// variant of; `None` for any other suite.
pub fn usual_horizon(suite: &str) -> Option<u32> {
    let is_of =
        |name: &str| suite.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    SUITES.iter().find(|(name, _)| is_of(name)).map(|(_, steps)| *steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_ends_where_its_suite_ends() {
        assert_eq!(usual_horizon("libero_10"), Some(520));
        assert_eq!(usual_horizon("libero_object_temp_x0.1"), Some(280));
        assert_eq!((usual_horizon("libero_100"), usual_horizon("mine")), (None, None));
    }
}
