//! Conversions between the types of the wire and those of the controller; floating-point values keep every bit.

use std::sync::Arc;

use aegis_core::feature::{self, ActionChannel, Schema, SchemaError};
use aegis_core::{Frame, Observation};

use super::{Announcement, Channel, Feature, Observed, Picture};

impl From<&Schema> for Announcement {
    fn from(schema: &Schema) -> Self {
        let features = schema.features().iter().map(|feature| Feature {
            name: feature.name.to_string(),
            shape: feature.shape.iter().map(|size| u32::try_from(*size).unwrap_or(u32::MAX)).collect(),
            dtype: feature.dtype,
            kind: feature.kind,
            names: feature.names.iter().map(ToString::to_string).collect(),
            semantics: feature.semantics.to_string(),
        });
        let actions = schema.actions().iter().map(|channel| Channel {
            name: channel.name.to_string(),
            semantics: channel.semantics.to_string(),
            bounds: channel.bounds.map(f64::from),
            still: channel.still.map(f64::from),
        });
        Self { features: features.collect(), actions: actions.collect() }
    }
}

impl Announcement {
    /// Converts to a schema. The `known` schema is returned where it is the same.
    ///
    /// # Errors
    /// [`SchemaError`] for what no plant can announce, such as one name twice.
    pub fn schema(self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>, SchemaError> {
        let features = self.features.into_iter().map(|feature| feature::Feature {
            name: feature.name.into(),
            shape: feature.shape.into_iter().map(|size| size as usize).collect(),
            dtype: feature.dtype,
            kind: feature.kind,
            names: feature.names.into_iter().map(Arc::from).collect(),
            semantics: feature.semantics.into(),
        });
        let actions = self.actions.into_iter().map(|Channel { name, semantics, bounds, still }| {
            let (bounds, still) = (bounds.map(|bound| bound as f32), still.map(|still| still as f32));
            ActionChannel { name: name.into(), semantics: semantics.into(), bounds, still }
        });
        let schema = Schema::new(features.collect(), actions.collect())?;
        let known = known.filter(|known| ***known == schema).map(Arc::clone);
        Ok(known.unwrap_or_else(|| Arc::new(schema)))
    }
}

impl From<&Observation> for Observed {
    fn from(seen: &Observation) -> Self {
        Self {
            plant_time: seen.plant_time,
            task: u32::try_from(seen.task).unwrap_or(u32::MAX),
            instruction: seen.instruction.to_string(),
            values: seen.values.clone(),
        }
    }
}

impl Observed {
    /// Converts to the observation after control step `step` of an episode with this schema.
    ///
    /// # Errors
    /// [`SchemaError`] where the number of values is not that of the schema.
    pub fn at(self, step: u32, schema: &Arc<Schema>) -> Result<Observation, SchemaError> {
        if self.values.len() != schema.width() {
            return Err(SchemaError {
                place: "observation.values".into(),
                found: format!("{} values", self.values.len()),
                valid: format!("{}, as the plant announced at the reset", schema.width()),
            });
        }
        Ok(Observation {
            step,
            plant_time: self.plant_time,
            task: self.task as usize,
            instruction: Arc::from(self.instruction),
            schema: Arc::clone(schema),
            values: self.values,
            frames: [].into(),
        })
    }
}

impl From<Frame> for Picture {
    fn from(Frame { camera, width, height, rgb }: Frame) -> Self {
        Self { camera: camera.to_string(), width, height, rgb }
    }
}

impl From<Picture> for Frame {
    fn from(Picture { camera, width, height, rgb }: Picture) -> Self {
        Self { camera: Arc::from(camera), width, height, rgb }
    }
}
