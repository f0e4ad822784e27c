// Package report turns a [document.Report] into text, and does nothing else:
//
//   - the verdict: one sentence that says how the run ended;
//   - the summary: markdown for the job's page;
//   - the outputs: what later steps of a workflow read;
//   - the closing lines of the log;
//   - progress: a line or a bar while blobs are sent.
//
// Every text that a registry or a user wrote is a stranger's. It enters the
// summary only through prose, code or fence, and a line only through
// [Visible], so that it can be read and cannot act.
package report
