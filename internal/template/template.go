package template

import "time"

// Template is a parsed tag name. The zero value renders to nothing.
type Template struct {
	text  string
	parts []part
}

type part struct{ literal, expression, argument string }

// Values is what expressions stand for.
type Values struct {
	Now       time.Time // {{date '…'}}, shown in UTC
	Revision  string    // {{revision}}: the image's commit; shortened to 7 hex
	Version   string    // {{version}}: the image's version label
	SourceTag string    // {{source-tag}}
	Env       string    // {{env}}
	RunNumber string    // {{run-number}}
	Digest    string    // {{digest}}: sha256:…; shortened to 12 hex
}

// String is the template as it was written.
func (t Template) String() string { return t.text }
