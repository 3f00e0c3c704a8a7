//! Checks of a card without its model or a plant: sizes, inputs and the chunk, and the number of classes for the tasks to run.

use super::{CardError, ChunkSpec, GripperSpec, MOST_VALUES, ModelCard};
use crate::inputs::{ConstantInput, Input, MOST_CLASSES, Resize, TASK, VectorInput};
use crate::{term, tokens};

/// Largest number of observations that one input stacks.
const MOST_HISTORY: usize = 1024;

impl ModelCard {
    /// Checks that every one-hot term of the task has a class for the task `largest`. `of` names the source of that task, for messages.
    /// A plant that announces a feature called `task` gives its own numbers, and is not checked here.
    ///
    /// # Errors
    /// The field, the number of its classes and how many are needed.
    pub fn check_task(&self, largest: usize, of: &str) -> Result<(), CardError> {
        for (index, input) in self.inputs.iter().enumerate() {
            let Input::Vector(VectorInput { terms, .. }) = input else { continue };
            for (place, term) in terms.iter().enumerate() {
                let Some(found) = term.one_hot.filter(|found| term.feature == TASK && *found <= largest)
                else {
                    continue;
                };
                let input = self.place(index);
                let reason = match &self.observation {
                    Some(observation) => format!(
                        "{input}.layout: found {:?}, which has {found} classes for {TASK}; valid is a layout or [[inputs]] with \
                         {} or more: {of}",
                        observation.layout.name(),
                        largest + 1
                    ),
                    None => format!(
                        "{input}.terms[{place}].one_hot: found {found}, the number of classes of {TASK}; valid is {} or more: {of}",
                        largest + 1
                    ),
                };
                return Err(CardError::Inputs { path: self.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// Checks the sizes of all tensors, before memory is allocated for them.
    pub(super) fn check_sizes(&self) -> Result<(), CardError> {
        let chunk = ("chunk", "horizon × width", vec![self.chunk.horizon, self.chunk.width]);
        let activation =
            self.activation.iter().map(|one| ("activation", "tokens × width", vec![one.tokens, one.width]));
        let images = self
            .images()
            .map(|one| ("frames", "height × width × 3", vec![one.height as usize, one.width as usize, 3]));
        for (field, what, sizes) in std::iter::once(chunk).chain(activation).chain(images) {
            let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            if count.is_none_or(|count| !(1..=MOST_VALUES).contains(&count)) {
                let found = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
                return Err(CardError::Size { path: self.path.clone(), field, what, found });
            }
        }
        self.check_inputs()
            .and_then(|()| self.check_chunk())
            .map_err(|reason| CardError::Inputs { path: self.path.clone(), reason })
    }

    fn check_inputs(&self) -> Result<(), String> {
        for (index, input) in self.inputs.iter().enumerate() {
            let place = self.place(index);
            if self.inputs[..index].iter().any(|earlier| earlier.tensor() == input.tensor()) {
                return Err(format!(
                    "{place}.tensor: found {:?} twice; valid is each input once",
                    input.tensor()
                ));
            }
            match input {
                Input::Vector(VectorInput { terms, history, .. }) => {
                    if terms.is_empty() {
                        return Err(format!("{place}.terms: found none; valid is one or more"));
                    }
                    if !(1..=MOST_HISTORY).contains(history) {
                        return Err(format!(
                            "{place}.history: found {history}; valid is 1 to {MOST_HISTORY}"
                        ));
                    }
                    for (index, term) in terms.iter().enumerate() {
                        let place = format!("{place}.terms[{index}]");
                        if let Some(found) = term.one_hot.filter(|n| !(1..=MOST_CLASSES).contains(n)) {
                            return Err(format!(
                                "{place}.one_hot: found {found}; valid is 1 to {MOST_CLASSES}"
                            ));
                        }
                        term::check(term).map_err(|reason| format!("{place}.{reason}"))?;
                    }
                }
                Input::Image(image) => {
                    let [height, width] = image.rendered();
                    if height == 0 || width == 0 || (image.resize == Resize::Exact && image.render.is_some())
                    {
                        let found = format!("[{height}, {width}]");
                        let valid = "height and width above 0, with resize = \"stretch\" or \"pad\"";
                        return Err(format!("{place}.render: found {found}; valid is {valid}"));
                    }
                    let std = image.std.iter().flatten().find(|std| !(**std > 0.0 && std.is_finite()));
                    if let Some(std) = std {
                        return Err(format!("{place}.std: found {std}; valid is above 0"));
                    }
                }
                Input::Constant(ConstantInput { value, .. }) => {
                    if value.values().iter().any(|number| !number.is_finite()) {
                        return Err(format!(
                            "{place}.value: found {:?}; valid are finite numbers",
                            value.values()
                        ));
                    }
                }
                Input::Tokens(tokens) => {
                    tokens::check(tokens).map_err(|reason| format!("{place}.{reason}"))?;
                }
                Input::Mask(mask) => {
                    if self.tokens_of(mask).is_none() {
                        let valid = "the tensor of an input of kind \"tokens\"";
                        return Err(format!("{place}.of: found {:?}; valid is {valid}", mask.of));
                    }
                }
                Input::Instruction(_) if self.server.is_none() => {
                    let valid = "\"tokens\", because a model in a file reads no text";
                    return Err(format!("{place}.kind: found \"instruction\"; valid is {valid}"));
                }
                Input::PrefixLength(length) => {
                    let is_prefix =
                        |input: &Input| matches!(input, Input::Prefix(prefix) if prefix.tensor == length.of);
                    if !self.inputs.iter().any(is_prefix) {
                        let valid = "the tensor of an input of kind \"prefix\"";
                        return Err(format!("{place}.of: found {:?}; valid is {valid}", length.of));
                    }
                }
                Input::Prefix(_) => {
                    let earlier = self.inputs.iter().find(|input| matches!(input, Input::Prefix(_)));
                    if let Some(earlier) = earlier.filter(|earlier| !std::ptr::eq(*earlier, input)) {
                        let found = format!("found \"prefix\" a second time, after {:?}", earlier.tensor());
                        return Err(format!("{place}.kind: {found}; valid is one input of this kind"));
                    }
                }
                Input::Noise(_) | Input::State(_) | Input::Instruction(_) => {}
            }
        }
        Ok(())
    }

    fn check_chunk(&self) -> Result<(), String> {
        let ChunkSpec { horizon, width, skip, execute, names, gripper, .. } = &self.chunk;
        if skip >= horizon {
            return Err(format!("chunk.skip: found {skip}; valid is below the horizon, {horizon}"));
        }
        if let Some(execute) = execute.filter(|execute| !(1..=horizon - skip).contains(execute)) {
            let most = horizon - skip;
            return Err(format!(
                "chunk.execute: found {execute}; valid is 1 to {most}, the actions after chunk.skip"
            ));
        }
        let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        if !names.is_empty() && (names.len() != *width || twice.is_some()) {
            return Err(format!("chunk.names: found {names:?}; valid is none, or {width} different names"));
        }
        self.chunk.affine().check(*width).map_err(|reason| format!("chunk.{reason}"))?;
        match gripper {
            Some(GripperSpec { value, .. }) if value >= width => {
                Err(format!("chunk.gripper.value: found {value}; valid is 0 to {}", width - 1))
            }
            Some(GripperSpec { threshold, closed, open, .. })
                if ![threshold, closed, open].iter().all(|number| number.is_finite()) || closed == open =>
            {
                Err(format!(
                    "chunk.gripper: found threshold {threshold}, closed {closed}, open {open}; valid are finite numbers, \
                     and closed different from open"
                ))
            }
            _ => Ok(()),
        }
    }
}
