//! Tensors bound to a session once: named inputs that are written in place, and outputs that are read in place.
//! Other outputs of the graph are not fetched. This module allocates nothing after a session has opened.

use aegis_core::PolicyError;
use ort::memory::Allocator;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType};

/// Name, element type and shape of a tensor to bind.
pub(crate) struct TensorSpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: TensorElementType,
    pub(crate) shape: Vec<i64>,
}

/// The bound tensors of one session, all in host memory.
pub(crate) struct Binding {
    binding: IoBinding,
    inputs: Vec<Bound>,
    outputs: Vec<Bound>,
    on_device: bool,
}

struct Bound {
    name: String,
    tensor: DynTensor,
}

impl Bound {
    fn new(spec: &TensorSpec<'_>) -> ort::Result<Self> {
        let tensor = DynTensor::new(&Allocator::default(), spec.kind, spec.shape.as_slice())?;
        Ok(Self { name: spec.name.to_owned(), tensor })
    }
}

impl Binding {
    /// Allocates the tensors and binds them. `on_device` says that the graph does not run in host memory.
    pub(crate) fn new(
        session: &Session,
        inputs: &[TensorSpec<'_>],
        outputs: &[TensorSpec<'_>],
        on_device: bool,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        let inputs: Vec<Bound> = inputs.iter().map(Bound::new).collect::<ort::Result<_>>()?;
        let mut outputs: Vec<Bound> = outputs.iter().map(Bound::new).collect::<ort::Result<_>>()?;
        if !on_device {
            for input in &inputs {
                binding.bind_input(input.name.as_str(), &input.tensor)?;
            }
        }
        for output in &mut outputs {
            binding.bind_output(output.name.as_str(), &mut output.tensor)?;
        }
        Ok(Self { binding, inputs, outputs, on_device })
    }

    /// Writes the values of the input with this index in the list of inputs.
    pub(crate) fn write<T: PrimitiveTensorElementType + Copy>(
        &mut self,
        input: usize,
        values: &[T],
    ) -> Result<(), PolicyError> {
        let Some(bound) = self.inputs.get_mut(input) else {
            return Err(PolicyError::Backend(format!("no input {input} is bound")));
        };
        let (_, target) = bound.tensor.try_extract_tensor_mut::<T>().map_err(backend)?;
        if target.len() != values.len() {
            return Err(PolicyError::Shape {
                what: bound.name.clone(),
                expected: format!("{} values", target.len()),
                found: format!("{} values", values.len()),
            });
        }
        target.copy_from_slice(values);
        Ok(())
    }

    /// Runs the graph on the inputs written last.
    pub(crate) fn run(&mut self, session: &mut Session, options: &RunOptions) -> ort::Result<()> {
        if self.on_device {
            // Binding copies host memory to the device, so inputs that were written since have to be bound again.
            for input in &self.inputs {
                self.binding.bind_input(input.name.as_str(), &input.tensor)?;
            }
        }
        session.run_binding_with_options(&self.binding, options)?;
        Ok(())
    }

    /// Returns the values, after the last run, of the output with this index in the list of outputs.
    pub(crate) fn read(&self, output: usize) -> Result<&[f32], PolicyError> {
        let Some(bound) = self.outputs.get(output) else {
            return Err(PolicyError::Backend(format!("no output {output} is bound")));
        };
        Ok(bound.tensor.try_extract_tensor::<f32>().map_err(backend)?.1)
    }
}

pub(crate) fn backend(error: ort::Error) -> PolicyError {
    PolicyError::Backend(crate::provider::gist(&error.to_string()))
}
