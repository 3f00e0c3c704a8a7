//! Tensors bound to a session once: named inputs that are written in place, and outputs that are read in place.
//! Other outputs of the graph are not fetched. Numbers are doubles on this side, and are rounded to and from each tensor's element
//! type here. This module allocates nothing after a session has opened.

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
    /// For each output that is read, the index of the bound output; outputs of the same name share one.
    places: Vec<usize>,
    on_device: bool,
}

struct Bound {
    name: String,
    kind: TensorElementType,
    len: usize,
    tensor: DynTensor,
}

impl Bound {
    fn new(spec: &TensorSpec<'_>) -> ort::Result<Self> {
        let tensor = DynTensor::new(&Allocator::default(), spec.kind, spec.shape.as_slice())?;
        let len = spec.shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).product();
        Ok(Self { name: spec.name.to_owned(), kind: spec.kind, len, tensor })
    }

    fn check(&self, found: usize) -> Result<(), PolicyError> {
        if found == self.len {
            return Ok(());
        }
        Err(PolicyError::Shape {
            what: self.name.clone(),
            expected: format!("{} values", self.len),
            found: format!("{found} values"),
        })
    }

    /// Appends the tensor's numbers.
    fn append_to(&self, numbers: &mut Vec<f64>) -> Result<(), PolicyError> {
        match self.kind {
            TensorElementType::Float32 => self.append(numbers, |number: f32| f64::from(number)),
            TensorElementType::Float64 => self.append(numbers, |number: f64| number),
            TensorElementType::Float16 => self.append(numbers, half::f16::to_f64),
            TensorElementType::Bfloat16 => self.append(numbers, half::bf16::to_f64),
            TensorElementType::Int64 => self.append(numbers, |number: i64| number as f64),
            TensorElementType::Int32 => self.append(numbers, |number: i32| f64::from(number)),
            TensorElementType::Uint8 => self.append(numbers, |number: u8| f64::from(number)),
            TensorElementType::Bool => self.append(numbers, |is: bool| f64::from(u8::from(is))),
            other => {
                Err(PolicyError::Backend(format!("{}: values of type {other} cannot be read", self.name)))
            }
        }
    }

    fn append<T: PrimitiveTensorElementType + Copy>(
        &self,
        numbers: &mut Vec<f64>,
        convert: impl Fn(T) -> f64,
    ) -> Result<(), PolicyError> {
        let (_, values) = self.tensor.try_extract_tensor::<T>().map_err(backend)?;
        numbers.extend(values.iter().map(|value| convert(*value)));
        Ok(())
    }

    fn fill<T: PrimitiveTensorElementType + Copy>(
        &mut self,
        numbers: impl ExactSizeIterator<Item = f64>,
        round: impl Fn(f64) -> T,
    ) -> Result<(), PolicyError> {
        self.check(numbers.len())?;
        let (_, target) = self.tensor.try_extract_tensor_mut::<T>().map_err(backend)?;
        target.iter_mut().zip(numbers).for_each(|(target, number)| *target = round(number));
        Ok(())
    }
}

impl Binding {
    /// Allocates the tensors and binds them. `on_device` is true where the graph does not run in host memory.
    pub(crate) fn new(
        session: &Session,
        inputs: &[TensorSpec<'_>],
        outputs: &[TensorSpec<'_>],
        on_device: bool,
    ) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        let inputs: Vec<Bound> = inputs.iter().map(Bound::new).collect::<ort::Result<_>>()?;
        let (mut different, mut places): (Vec<&TensorSpec<'_>>, Vec<usize>) = (Vec::new(), Vec::new());
        for output in outputs {
            let known = different.iter().position(|other| other.name == output.name);
            places.push(known.unwrap_or(different.len()));
            different.extend(known.is_none().then_some(output));
        }
        let mut outputs: Vec<Bound> = different.into_iter().map(Bound::new).collect::<ort::Result<_>>()?;
        if !on_device {
            for input in &inputs {
                binding.bind_input(input.name.as_str(), &input.tensor)?;
            }
        }
        for output in &mut outputs {
            binding.bind_output(output.name.as_str(), &mut output.tensor)?;
        }
        Ok(Self { binding, inputs, outputs, places, on_device })
    }

    /// Writes the numbers of the input with this index in the list of inputs, each rounded to the tensor's element type.
    pub(crate) fn write(
        &mut self,
        input: usize,
        numbers: impl ExactSizeIterator<Item = f64>,
    ) -> Result<(), PolicyError> {
        let bound = self.input(input)?;
        match bound.kind {
            TensorElementType::Float32 => bound.fill(numbers, |number| number as f32),
            TensorElementType::Float64 => bound.fill(numbers, |number| number),
            TensorElementType::Float16 => bound.fill(numbers, half::f16::from_f64),
            TensorElementType::Bfloat16 => bound.fill(numbers, half::bf16::from_f64),
            TensorElementType::Int64 => bound.fill(numbers, |number| number as i64),
            TensorElementType::Int32 => bound.fill(numbers, |number| number as i32),
            TensorElementType::Uint8 => bound.fill(numbers, |number| number as u8),
            TensorElementType::Bool => bound.fill(numbers, |number| number != 0.0),
            other => {
                Err(PolicyError::Backend(format!("{}: values of type {other} cannot be written", bound.name)))
            }
        }
    }

    /// Copies values to the input with this index, whose element type is theirs.
    pub(crate) fn copy<T: PrimitiveTensorElementType + Copy>(
        &mut self,
        input: usize,
        values: &[T],
    ) -> Result<(), PolicyError> {
        let bound = self.input(input)?;
        bound.check(values.len())?;
        let (_, target) = bound.tensor.try_extract_tensor_mut::<T>().map_err(backend)?;
        target.copy_from_slice(values);
        Ok(())
    }

    /// Returns the numbers that were written last to the input with this index.
    pub(crate) fn written(&self, input: usize) -> Result<Vec<f64>, PolicyError> {
        let Some(bound) = self.inputs.get(input) else {
            return Err(PolicyError::Backend(format!("no input {input} is bound")));
        };
        let mut numbers = Vec::with_capacity(bound.len);
        bound.append_to(&mut numbers)?;
        Ok(numbers)
    }

    /// Returns the number of values of the input with this index.
    pub(crate) fn len(&self, input: usize) -> usize {
        self.inputs.get(input).map_or(0, |bound| bound.len)
    }

    /// Returns the element type of the input with this index.
    pub(crate) fn kind(&self, input: usize) -> Option<TensorElementType> {
        self.inputs.get(input).map(|bound| bound.kind)
    }

    fn input(&mut self, input: usize) -> Result<&mut Bound, PolicyError> {
        self.inputs.get_mut(input).ok_or_else(|| PolicyError::Backend(format!("no input {input} is bound")))
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

    /// Appends the numbers, after the last run, of the output with this index in the list of outputs.
    pub(crate) fn read(&self, output: usize, numbers: &mut Vec<f64>) -> Result<(), PolicyError> {
        match self.places.get(output).and_then(|place| self.outputs.get(*place)) {
            Some(bound) => bound.append_to(numbers),
            None => Err(PolicyError::Backend(format!("no output {output} is bound"))),
        }
    }
}

pub(crate) fn backend(error: ort::Error) -> PolicyError {
    PolicyError::Backend(crate::provider::gist(&error.to_string()))
}
