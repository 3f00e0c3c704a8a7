//! JSON has no infinity: a number that nothing reaches is written as the string `inf`, its negative as `-inf`.
//! For `#[serde(with = "extended")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
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

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let extended = match *value {
        f64::INFINITY => Extended::Named(Infinity::Positive),
        f64::NEG_INFINITY => Extended::Named(Infinity::Negative),
        value => Extended::Finite(value),
    };
    extended.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(match Extended::deserialize(deserializer)? {
        Extended::Finite(value) => value,
        Extended::Named(Infinity::Positive) => f64::INFINITY,
        Extended::Named(Infinity::Negative) => f64::NEG_INFINITY,
    })
}
