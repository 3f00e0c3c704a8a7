//! Infinities in JSON, which has none: +∞ is written as the string `inf`, −∞ as `-inf`.
//! Use `#[serde(with = "serde_nonfinite")]` on a number, `#[serde(with = "serde_nonfinite::list")]` on a vector of numbers,
//! and `#[serde(default, skip_serializing_if = "Option::is_none", with = "serde_nonfinite::option")]` on a number that may be
//! absent.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "found neither a number nor \"inf\" nor \"-inf\"")]
enum Extended {
    Finite(f64),
    Named(Infinity),
}

#[derive(Serialize, Deserialize)]
enum Infinity {
    #[serde(rename = "inf")]
    Positive,
    #[serde(rename = "-inf")]
    Negative,
}

impl From<f64> for Extended {
    fn from(value: f64) -> Self {
        match value {
            f64::INFINITY => Self::Named(Infinity::Positive),
            f64::NEG_INFINITY => Self::Named(Infinity::Negative),
            value => Self::Finite(value),
        }
    }
}

impl From<Extended> for f64 {
    fn from(value: Extended) -> Self {
        match value {
            Extended::Finite(value) => value,
            Extended::Named(Infinity::Positive) => f64::INFINITY,
            Extended::Named(Infinity::Negative) => f64::NEG_INFINITY,
        }
    }
}

/// Writes a number, or the name of an infinity.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Extended::from(*value).serialize(serializer)
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Extended::deserialize(deserializer)?.into())
}

/// The same format for vectors of numbers.
pub mod list {
    use super::{Deserialize, Deserializer, Extended, Serializer};

    /// Writes each value as a number, or as the name of an infinity.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| Extended::from(*value)))
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Extended>::deserialize(deserializer)?.into_iter().map(f64::from).collect())
    }
}

/// The same format for a number that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, Extended, Serialize, Serializer};

    /// Writes the number, or the name of an infinity.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Extended::from).serialize(serializer)
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Some(Extended::deserialize(deserializer)?.into()))
    }
}
