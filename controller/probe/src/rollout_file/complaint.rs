//! Errors in a file of rollouts as field, value found and valid values.

/// Field, value found, and valid values.
pub(super) type Complaint = (String, String, String);

pub(super) fn complaint(field: &str, found: impl Into<String>, valid: impl Into<String>) -> Complaint {
    (field.to_owned(), found.into(), valid.into())
}
