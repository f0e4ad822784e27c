// Package retry decides whether a failed request to a registry is retried, and after
// which wait. There is one policy for small requests, tokens, downloads and uploads.
//
// [Do] runs it for whatever is sent again as a whole, by go-retryablehttp. Streams have
// their own loops around a [Policy], because a broken transfer is resumed, not repeated.
package retry
