//! Instructions as tokens, by a `tokenizer.json` of Hugging Face, which is read by the library `tokenizers`.

use std::path::Path;
use std::sync::Arc;

use aegis_core::PolicyError;
use tokenizers::{Encoding, Tokenizer};

use crate::inputs::{PaddingSide, TokensInput};

/// Placeholder of the instruction in a template.
const INSTRUCTION: &str = "{instruction}";

/// A tokenizer without its own padding and truncation, because the card has the length of the tensor.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    /// Token for padding, where the file states one.
    pad: Option<u32>,
    /// Number of tokens to which the file cuts an instruction, where it does.
    most: Option<usize>,
}

impl Vocabulary {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A message with the file and its fault.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let wrong =
            |error: &dyn std::fmt::Display| format!("{}: not a tokenizer.json: {error}", path.display());
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| wrong(&error))?;
        let pad = tokenizer.get_padding().map(|padding| padding.pad_id);
        let most = tokenizer.get_truncation().map(|truncation| truncation.max_length);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| wrong(&error))?;
        Ok(Self { tokenizer: Arc::new(tokenizer), pad, most })
    }
}

impl Vocabulary {
    fn encode(&self, spec: &TokensInput, instruction: &str) -> Result<Encoding, PolicyError> {
        let text = spec.template.replace(INSTRUCTION, instruction);
        self.tokenizer.encode(text, spec.special_tokens).map_err(|error| refused(instruction, &error))
    }

    /// Returns an instruction's tokens as readable text.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] where the tokenizer refuses the instruction.
    pub fn shown(&self, spec: &TokensInput, instruction: &str) -> Result<String, PolicyError> {
        let encoded = self.encode(spec, instruction)?;
        let tokens = encoded.get_ids().iter().zip(encoded.get_tokens());
        Ok(tokens.map(|(id, token)| format!("{token:?} {id}")).collect::<Vec<_>>().join(", "))
    }
}

fn refused(instruction: &str, reason: &dyn std::fmt::Display) -> PolicyError {
    PolicyError::Observation(format!("instruction {instruction:?}: {reason}"))
}

/// Checks a template. A backslash and a letter, where TOML has left two characters of an escape, are refused: no training code
/// encodes them, and a tensor of tokens does not show them.
pub(crate) fn check(spec: &TokensInput) -> Result<(), String> {
    let template = &spec.template;
    if !template.contains(INSTRUCTION) {
        return Err(format!("template: found {template:?}; valid is a text with {INSTRUCTION} in it"));
    }
    let escape = [("\\n", "the end of a line"), ("\\t", "a tab"), ("\\r", "a carriage return")];
    match escape.into_iter().find(|(escape, _)| template.contains(escape)) {
        Some((escape, meaning)) => Err(format!(
            "template: found a backslash and a letter, {escape}, as two characters; valid for {meaning} is {escape} with one backslash \
             in double quotes, such as \"{INSTRUCTION}{escape}\""
        )),
        None => Ok(()),
    }
}

/// Filler of a tensor of tokens or of its mask. The instruction is encoded anew only when it changes.
#[derive(Debug)]
pub(crate) struct Tokens {
    vocabulary: Vocabulary,
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
    pub fn new(spec: &TokensInput, vocabulary: &Vocabulary, is_mask: bool) -> Result<Self, String> {
        let file = spec.tokenizer.display();
        let Some(pad) = spec.pad.or(vocabulary.pad) else {
            let valid = format!("the number of the token for padding, which {file} does not state");
            return Err(format!("pad: missing; valid is {valid}"));
        };
        if vocabulary.tokenizer.id_to_token(pad).is_none() {
            return Err(format!("pad: found {pad}; valid is the number of a token of {file}"));
        }
        let (vocabulary, spec) = (vocabulary.clone(), spec.clone());
        Ok(Self { vocabulary, spec, pad: f64::from(pad), is_mask, instruction: None, values: Vec::new() })
    }

    /// Returns the values of a tensor of `len` values for an instruction.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] for an instruction of more tokens than the tensor has.
    pub fn values(&mut self, len: usize, instruction: &Arc<str>) -> Result<&[f64], PolicyError> {
        if self.instruction.as_ref() != Some(instruction) {
            self.instruction = None;
            self.encode(instruction, len)?;
            self.instruction = Some(Arc::clone(instruction));
        }
        Ok(&self.values)
    }

    fn encode(&mut self, instruction: &str, len: usize) -> Result<(), PolicyError> {
        let encoded = self.vocabulary.encode(&self.spec, instruction)?;
        let ids = encoded.get_ids();
        let most = self.vocabulary.most.map_or(len, |most| most.min(len));
        let Some(missing) = len.checked_sub(ids.len()).filter(|_| ids.len() <= most) else {
            let reason = format!(
                "found {} tokens; valid is at most {most}, the length of {:?}",
                ids.len(),
                self.spec.tensor
            );
            return Err(refused(instruction, &reason));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_with_an_escape_that_toml_did_not_read_is_refused() {
        let checked = |template: &str| {
            let text = format!(
                "tensor = \"tokens\"\ntokenizer = \"t.json\"\nsha256 = \"{}\"\ntemplate = {template}",
                "0".repeat(64)
            );
            check(&toml::from_str(&text).unwrap())
        };
        assert_eq!(checked(r#""{instruction}\n""#), Ok(()));
        for template in [r#""{instruction}\\n""#, r"'{instruction}\n'", r"'\t{instruction}'"] {
            let error = checked(template).unwrap_err();
            assert!(error.starts_with("template: found a backslash and a letter, \\"), "{error}");
            assert!(error.contains("in double quotes"), "{error}");
        }
        assert!(checked("\"do it\"").unwrap_err().contains("valid is a text with {instruction} in it"));
    }
}
