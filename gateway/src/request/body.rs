//! Reading a request's body within its bound.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use proto::ErrorCode;

use crate::error::{ApiError, ApiResult};

/// Of a body over its bound, what is read and thrown away at most, in bytes.
const DRAINED: usize = 64 * 1024 * 1024;
/// And for how long.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// The whole body.
///
/// # Errors
/// 413 with the limit in the text; 400 when the caller broke off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> ApiResult<Bytes> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        // who asks first is told before it sends anything
        if !headers.contains_key(header::EXPECT) {
            drain(&mut body).await;
        }
        return Err(too_large(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(&mut body).await;
            Err(too_large(limit))
        }
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// Reads on and throws away: a caller that is cut off while it sends sees a broken
/// connection, not the answer.
async fn drain(body: &mut Body) {
    let reading = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // whatever is left then is cut off
    let _ = tokio::time::timeout(DRAIN_WITHIN, reading).await;
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("the body is larger than {limit} bytes, the limit of this instance");
    ApiError::new(ErrorCode::PayloadTooLarge, message)
}
