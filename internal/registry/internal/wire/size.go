package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// ErrMismatch says that content does not match its digest or its size.
var ErrMismatch = errors.New("content does not match its digest")

// SizeError says that Content-Length is not the size that the manifest states. Damage in transit
// does not change it.
type SizeError struct{ stated, actual int64 }

func (e SizeError) Error() string {
	return fmt.Sprintf("the manifest states %s bytes, the blob has %s", Grouped(e.stated), Grouped(e.actual))
}

func (SizeError) Unwrap() error { return ErrMismatch }

// Grouped writes a number with commas, "3,106".
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// CheckSize compares Content-Length with the size that the manifest states.
func CheckSize(resp *http.Response, want int64) error {
	a := Answer{Header: resp.Header}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 || resp.ContentLength == want ||
		resp.Header.Get("Content-Encoding") != "" || a.IsHTML() {
		return nil
	}
	return SizeError{want, resp.ContentLength}
}
