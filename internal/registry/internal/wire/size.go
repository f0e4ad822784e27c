package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// ErrMismatch says that content does not match its digest or its size.
var ErrMismatch = errors.New("content does not match its digest")

// SizeError says that a blob has another size than its manifest says: the registry
// means to send another number of bytes, which damage on the way does not change.
type SizeError struct{ says, has int64 }

func (e SizeError) Error() string {
	return fmt.Sprintf("the manifest says %s bytes, the blob has %s", Grouped(e.says), Grouped(e.has))
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

// CheckSize compares the number of bytes that an answer announces with the one that the
// manifest states.
func CheckSize(resp *http.Response, want int64) error {
	a := Answer{Header: resp.Header}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 || resp.ContentLength == want ||
		resp.Header.Get("Content-Encoding") != "" || a.IsHTML() {
		return nil
	}
	return SizeError{want, resp.ContentLength}
}
