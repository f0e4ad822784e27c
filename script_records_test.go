package main

import (
	"context"
	"regexp"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// showBlob prints a small blob, for stdout to look at.
//
//	blob REPOSITORY@DIGEST
func showBlob(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, digest := place(ts, args[0])
	text, err := regtest.GetBlob(context.Background(), access, repository, digest)
	ts.Check(err)
	_, err = ts.Stdout().Write(text)
	ts.Check(err)
}

// showReferrers prints the manifests that the referrers API lists for one, for stdout to look at.
//
//	referrers REPOSITORY@DIGEST
func showReferrers(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, digest := place(ts, args[0])
	tree, err := regtest.Read(context.Background(), access, repository, digest)
	ts.Check(err)
	for _, referrer := range tree.Listed[digest] {
		_, text, err := regtest.GetManifest(context.Background(), access, repository, referrer)
		ts.Check(err)
		_, err = ts.Stdout().Write(append(text, '\n'))
		ts.Check(err)
	}
}

// backdate makes every entry of a ledger so much older, in the heads that are there. To the program, that time has
// passed; an audit, which reads the records too, sees that somebody did this.
//
//	backdate LEDGER DURATION
func backdate(ts *testscript.TestScript, _ bool, args []string) {
	by, err := time.ParseDuration(args[1])
	ts.Check(err)
	for _, head := range []string{".a", ".b"} {
		access, repository, tag := place(ts, args[0]+head)
		_, exists, err := regtest.TagDigest(context.Background(), access, repository, tag)
		ts.Check(err)
		if !exists {
			continue
		}
		mediaType, text, err := regtest.GetManifest(context.Background(), access, repository, tag)
		ts.Check(err)
		older := timeText.ReplaceAllStringFunc(string(text), func(was string) string {
			at, err := time.Parse(time.RFC3339Nano, was)
			ts.Check(err)
			return at.Add(-by).Format(time.RFC3339Nano)
		})
		ts.Check(regtest.PutManifest(context.Background(), access, repository, tag, mediaType, []byte(older)))
	}
}

// timeText is a time in a ledger.
var timeText = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
