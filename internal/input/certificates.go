package input

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const pemBegin = "-----BEGIN "

// readCertificates takes PEM text as it is, and reads anything else as a path.
func (r *reader) readCertificates() {
	text := r.text("ca-certificates")
	if text == "" {
		return
	}
	data, given := []byte(text), "PEM text"
	if !strings.Contains(text, pemBegin) {
		var f *Fault
		if data, f = readCertificateFile(text); r.add("ca-certificates", f) {
			return
		}
		given = "file " + quote(text)
	}
	if f := checkCertificates(data, given); !r.add("ca-certificates", f) {
		r.settings.CACertificates = data
	}
}

func readCertificateFile(path string) ([]byte, *Fault) {
	if strings.ContainsAny(path, "\r\n") {
		return nil, &Fault{Given: "several lines (not shown) that are no PEM text", Expected: "PEM text with " + pemBegin + "CERTIFICATE-----, or one file's path"}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, &Fault{Given: "file " + quote(path) + ": " + cause(err), Expected: "a file that can be read, in a path from the workspace, or PEM text; in a workflow actions/checkout must come first"}
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, maxValue+1))
	if err != nil {
		return nil, &Fault{Given: "file " + quote(path) + ": " + cause(err), Expected: "a file that can be read"}
	}
	if len(data) > maxValue {
		return nil, &Fault{Given: "file " + quote(path) + ", which is larger", Expected: fmt.Sprintf("at most %d bytes", maxValue)}
	}
	return data, nil
}

// cause is the error without the path, which is shown escaped.
func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// checkCertificates expects certificates and nothing else. What stands in the
// blocks is never shown: it may be a key.
func checkCertificates(data []byte, given string) *Fault {
	const expected = "PEM blocks of the type CERTIFICATE"
	n := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		n++
		if block.Type != "CERTIFICATE" {
			return &Fault{Given: fmt.Sprintf("%s, whose block %d is of the type %s", given, n, quote(block.Type)), Expected: expected + " only; keep a private key out of it"}
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return &Fault{Given: fmt.Sprintf("%s, whose certificate %d cannot be read", given, n), Expected: expected + ", each whole and unchanged"}
		}
	}
	if n == 0 {
		return &Fault{Given: given + ", which has no certificate", Expected: expected}
	}
	return nil
}
