package document

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The largest plan, in bytes.
const (
	maxText = 24 << 20 // packed
	maxJSON = 32 << 20
)

// header is how gzip begins here: no name, no time, best compression, no system
// (RFC 1952, section 2.3).
const header = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"

// copyAgain is what to do about a text that is no plan.
const copyAgain = "give the output plan of the run that made it as it is"

// alphabet has one text for the same bytes: bits that mean nothing must be zero.
var alphabet = base64.RawURLEncoding.Strict()

// Pack is a plan's JSON as text for an output: gzip and base64url, which no
// masked value of a workflow can be part of by chance.
func Pack(raw []byte) string {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return alphabet.EncodeToString(packed.Bytes())
}

// Unpack is the JSON in a packed text; blanks and line ends around the text do not
// matter. What takes more than the largest plan is refused before it is unpacked.
func Unpack(text string) ([]byte, error) {
	text = strings.Trim(text, " \t\r\n")
	switch {
	case text == "":
		return nil, errors.New("the plan is empty; " + copyAgain)
	case len(text) > maxText:
		return nil, fmt.Errorf("the plan's text has %d bytes, more than the %d that a plan can have", len(text), maxText)
	case strings.ContainsAny(text, "\r\n"): // which the decoder would skip
		return nil, errors.New("the plan's text has several lines, expected one; " + copyAgain)
	}
	packed, err := alphabet.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the plan's text is not base64url (%w); %s", err, copyAgain)
	}
	if !bytes.HasPrefix(packed, []byte(header)) {
		return nil, errors.New("the plan's text does not begin as one that this program packed; " + copyAgain)
	}
	return inflate(packed)
}

// inflate reads exactly one member of gzip.
func inflate(packed []byte) ([]byte, error) {
	from := bytes.NewReader(packed)
	r, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("unpack the plan: %w; %s", err, copyAgain)
	}
	r.Multistream(false)
	raw, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack the plan: %w; it was cut or altered: %s", err, copyAgain)
	case len(raw) > maxJSON:
		return nil, fmt.Errorf("the plan unpacks to more than the %d bytes that a plan can have", maxJSON)
	case from.Len() > 0:
		return nil, fmt.Errorf("%d bytes follow the packed plan; %s", from.Len(), copyAgain)
	}
	return raw, nil
}
