// Package retry decides whether a failed request to a registry is retried, and after which
// backoff. There is one policy for small requests, tokens, downloads and uploads.
//
// [Do] retries whole requests with go-retryablehttp. Streams have their own loops around a
// [Policy], because a broken transfer is resumed, not repeated.
package retry
