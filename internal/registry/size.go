package registry

import (
	"fmt"
	"net/http"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// sizeError says that a blob has another size than its manifest says: the registry
// means to send another number of bytes, which damage on the way does not change.
type sizeError struct{ says, has int64 }

func (e sizeError) Error() string {
	return fmt.Sprintf("the manifest says %s bytes, the blob has %s", grouped(e.says), grouped(e.has))
}

func (sizeError) Unwrap() error { return ErrMismatch }

// grouped writes a number with commas, "3,106".
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// checkSize compares what an answer says to send of a blob with its descriptor. It is
// asked once more, as somebody else may have answered.
func checkSize(resp *http.Response, blob v1.Descriptor) error {
	a := answer{header: resp.Header}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 || resp.ContentLength == blob.Size ||
		resp.Header.Get("Content-Encoding") != "" || a.isHTML() {
		return nil
	}
	return errAgain{error: sizeError{blob.Size, resp.ContentLength}, reason: isMisstated}
}
