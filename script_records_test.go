package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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

// backdate makes every line of a ledger so much older. To the program, that time has
// passed; an audit, which reads the records too, sees that somebody did this.
//
//	backdate REFERENCE DURATION
func backdate(ts *testscript.TestScript, _ bool, args []string) {
	by, err := time.ParseDuration(args[1])
	ts.Check(err)
	access, repository, tag := place(ts, args[0])
	mediaType, text, err := regtest.GetManifest(context.Background(), access, repository, tag)
	ts.Check(err)
	var lines struct {
		Layers []struct{ Annotations map[string]string }
	}
	ts.Check(json.Unmarshal(text, &lines))
	older := string(text)
	for _, line := range lines.Layers {
		for _, name := range []string{"time", "moved"} {
			was := line.Annotations["io.github.artifact-promotion."+name]
			at, err := time.Parse(time.RFC3339Nano, was)
			ts.Check(err)
			older = strings.ReplaceAll(older, fmt.Sprintf("%q", was), fmt.Sprintf("%q", at.Add(-by).Format(time.RFC3339Nano)))
		}
	}
	ts.Check(regtest.PutManifest(context.Background(), access, repository, tag, mediaType, []byte(older)))
}
