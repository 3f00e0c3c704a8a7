//! Instructions as tokens: a `tokenizer.json` of Hugging Face's, read by its own library.

use std::path::Path;
use std::sync::Arc;

use aegis_core::PolicyError;
use tokenizers::Tokenizer;

use crate::binding::Binding;
use crate::inputs::{PaddingSide, TokensInput};

/// Place of the instruction in a template.
const INSTRUCTION: &str = "{instruction}";

/// Reads a tokenizer, without its own padding and truncation: the card says how long the tensor is.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<(Arc<Tokenizer>, Option<u32>), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: not a tokenizer.json: {error}", path.display());
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| wrong(&error))?;
    let pad = tokenizer.get_padding().map(|padding| padding.pad_id);
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| wrong(&error))?;
    Ok((Arc::new(tokenizer), pad))
}

/// Checks a template.
pub(crate) fn check(spec: &TokensInput) -> Result<(), String> {
    if spec.template.contains(INSTRUCTION) {
        return Ok(());
    }
    Err(format!("template: found {:?}; valid is a text with {INSTRUCTION} in it", spec.template))
}

/// Filler of a tensor of tokens or of its mask. The instruction is encoded anew only when it changes.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokenizer: Arc<Tokenizer>,
    spec: TokensInput,
    pad: f64,
    is_mask: bool,
    /// Instruction of `values`; `None` before the first.
    instruction: Option<Arc<str>>,
    values: Vec<f64>,
}

impl Tokens {
    /// Makes a filler of the tokens, or of their mask: 1 for a token and 0 for padding.
    ///
    /// # Errors
    /// A tokenizer without a token for padding, where the card gives none.
    pub fn new(
        spec: &TokensInput,
        (tokenizer, pad): &(Arc<Tokenizer>, Option<u32>),
        is_mask: bool,
    ) -> Result<Self, String> {
        let Some(pad) = spec.pad.or(*pad) else {
            let file = spec.tokenizer.display();
            return Err(format!(
                "pad: missing; valid is the number of the token for padding, which {file} does not say"
            ));
        };
        let (tokenizer, spec) = (Arc::clone(tokenizer), spec.clone());
        Ok(Self { tokenizer, spec, pad: f64::from(pad), is_mask, instruction: None, values: Vec::new() })
    }

    /// Fills the tensor for an instruction.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] for an instruction of more tokens than the tensor has.
    pub fn fill(
        &mut self,
        binding: &mut Binding,
        input: usize,
        instruction: &Arc<str>,
    ) -> Result<(), PolicyError> {
        if self.instruction.as_ref() != Some(instruction) {
            self.instruction = None;
            self.encode(instruction, binding.len(input))?;
            self.instruction = Some(Arc::clone(instruction));
        }
        binding.write(input, self.values.iter().copied())
    }

    fn encode(&mut self, instruction: &str, len: usize) -> Result<(), PolicyError> {
        let failed =
            |reason: String| PolicyError::Observation(format!("instruction {instruction:?}: {reason}"));
        let text = self.spec.template.replace(INSTRUCTION, instruction);
        let encoded = self.tokenizer.encode(text, self.spec.special_tokens);
        let encoded = encoded.map_err(|error| failed(error.to_string()))?;
        let ids = encoded.get_ids();
        let Some(missing) = len.checked_sub(ids.len()) else {
            let reason = format!(
                "found {} tokens; valid is at most {len}, the length of {:?}",
                ids.len(),
                self.spec.tensor
            );
            return Err(failed(reason));
        };
        let padding = std::iter::repeat_n(if self.is_mask { 0.0 } else { self.pad }, missing);
        let tokens = ids.iter().map(|id| if self.is_mask { 1.0 } else { f64::from(*id) });
        self.values.clear();
        match self.spec.side {
            PaddingSide::Right => self.values.extend(tokens.chain(padding)),
            PaddingSide::Left => self.values.extend(padding.chain(tokens)),
        }
        Ok(())
    }
}
