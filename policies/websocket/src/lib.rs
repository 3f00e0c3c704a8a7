//! Policies behind WebSocket servers: a client of openpi's and vla-eval's protocols, and a server of any policy with openpi's protocol.
//! Messages (`message.rs`, `value.rs`, `array.rs`), endpoints, and requests and replies (`exchange.rs`) are pure.
//!
//! ```
//! use aegis_websocket::{Array, Value, message};
//!
//! let answer = Value::map([("actions", Value::Array(Array::float32(vec![1, 2], [0.5, -1.0])))]);
//! let bytes = message::encode(&answer, message::ArrayKeys::Bytes);
//! assert_eq!(message::decode(&bytes), Ok(answer));
//! ```

mod array;
mod client;
mod connection;
pub mod endpoint;
mod exchange;
pub mod message;
mod observe;
mod serve;
mod stream;
mod value;
mod worker;

pub use array::Array;
pub use client::{WebSocketPolicy, metadata};
pub use serve::{Offer, OpenError, serve};
pub use value::Value;
