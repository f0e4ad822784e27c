// Command promote brings a container image, by digest, from one environment to
// the next. It runs as a GitHub container action and, with the same inputs as
// flags, from a shell.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/artifact-promotion/promote/internal/demo"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/input"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"github.com/artifact-promotion/promote/internal/runner"
	_ "golang.org/x/crypto/x509roots/fallback" // nor root certificates
	"golang.org/x/term"
)

// version is set by the release's build.
var version = "dev"

func main() {
	frugal()
	log.SetOutput(io.Discard) // net/http quotes strangers there; what matters comes back as an error
	ctx, stop := untilSignal(context.Background())
	code := run(ctx, variables(os.Environ()), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// untilSignal is a context that ends with SIGINT or SIGTERM, which GitHub sends to a
// canceled job. Its cause is a sentence for the user, unlike that of [signal.NotifyContext].
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		names := map[os.Signal]string{syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM"}
		select {
		case s := <-signals:
			cancel(fmt.Errorf("the run was canceled (%s)", names[s]))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// frugal limits the memory of a run, its own pages excepted: near the limit, garbage is
// collected more often. A run of 200 images, which holds about 17 MiB beside its stacks,
// takes 61 MiB and 15 s of processor time with it; without it 76 MiB and 11 s. A limit that
// the user sets (GOMEMLIMIT) stays.
func frugal() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(44 << 20)
	}
}

// variables are an environment's variables by their names.
func variables(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return env
}

// run is the program: it returns the exit code. Nothing below it knows of the
// process's arguments, environment or streams.
func run(ctx context.Context, env map[string]string, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "demo":
			return demo.Run(ctx, run, stdout, stderr)
		case "version", "--version":
			_, _ = fmt.Fprintln(stdout, version)
			return 0
		}
	}
	started := time.Now().UTC()
	settings, err := input.Read(args, env, started)
	if errors.Is(err, input.ErrHelp) {
		_, _ = fmt.Fprint(stdout, input.Usage())
		return 0
	}
	out := newRunner(env, stdout, stderr)
	for _, secret := range settings.Secrets { // before anything else is printed
		out.Mask(secret)
	}
	return finish(out, settings.Summary, perform(ctx, settings, err, started, out))
}

func newRunner(env map[string]string, stdout, stderr io.Writer) *runner.Runner {
	getenv := func(name string) string { return env[name] }
	o := runner.Options{Getenv: getenv, Stdout: stdout, Stderr: stderr}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		o.Terminal = true
		o.Width, _, _ = term.GetSize(int(f.Fd()))
	}
	return runner.New(o)
}

// perform promotes what the settings ask for, or reports what is wrong with them.
func perform(ctx context.Context, settings *input.Settings, invalid error, started time.Time, out *runner.Runner) document.Report {
	if invalid != nil {
		return settings.Refused(started, invalid)
	}
	ctx, cancel := promote.WithTimeout(ctx, settings.Timeout)
	defer cancel()
	notices, err := configure(ctx, settings, out)
	if err != nil {
		return settings.Refused(started, err)
	}
	authorities := roots(settings.CACertificates)
	settings.Credentials.Roots = authorities
	client := registry.New(registry.Options{
		Credentials: settings.Credentials,
		Roots:       authorities,
		Secret:      out.Mask,
		Transfers:   settings.Transfers,
		UserAgent:   userAgent(),
	})
	defer client.Close()
	settings.Request.Version = version
	r := promote.Run(ctx, client, settings.Request, out)
	r.Notices = append(notices, r.Notices...)
	return r
}

// configure reads the config file and says whom to ask what gates need to know.
func configure(ctx context.Context, settings *input.Settings, out *runner.Runner) (notices []string, err error) {
	if settings.Request.Job.Repository != "" {
		options := settings.GitHub
		options.UserAgent, options.Roots = userAgent(), roots(settings.CACertificates)
		if settings.Request.GitHub, err = github.New(options); err != nil {
			return nil, err
		}
	}
	notices, err = settings.Configure(ctx, settings.Files(settings.Request.GitHub))
	for _, n := range notices {
		out.Notice(n)
	}
	return notices, err
}

func userAgent() string {
	return "promote/" + version + " (+https://github.com/artifact-promotion/promote)"
}

// roots adds private authorities to the system's, or to the built-in ones where
// there is no system.
func roots(pem []byte) *x509.CertPool {
	if len(pem) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(pem)
	return pool
}

// finish says how it went, in the log, the outputs and the summary. What was
// promoted stays promoted if its summary cannot be written; outputs are what
// later steps decide by, so that without them the step fails.
func finish(out *runner.Runner, summary bool, r document.Report) int {
	out.EndGroup() // GitHub folds groups: how it went stands below them
	r = keepPlan(out, r)
	for _, line := range report.Warnings(r) {
		out.Warning(line)
	}
	for _, line := range report.Lines(r) {
		out.Info(line)
	}
	code := r.Result.ExitCode()
	if code != 0 {
		out.Error(report.Annotation(r))
	}
	if err := out.SetOutputs(report.Outputs(r)); err != nil {
		out.Error(fmt.Sprintf("write outputs: %v", err))
		code = max(code, 1)
	}
	if summary {
		if err := out.WriteSummary(report.Summary(r)); err != nil {
			out.Warning(fmt.Sprintf("the job summary could not be written, the promotion is not affected: %v", err))
		}
	}
	return code
}

// keepPlan writes a plan to a file that is too large for an output. A plan that
// nobody can apply was not made.
func keepPlan(out *runner.Runner, r document.Report) document.Report {
	if r.Result != document.Planned || r.Plan == nil {
		return r
	}
	raw := r.Plan.Encode()
	if !out.NeedsFile(report.PlanTooLarge(document.Pack(raw))) {
		return r
	}
	_, hex, _ := strings.Cut(document.DigestOf(raw), ":")
	r.PlanFile = runner.PlanFile + hex[:12] + ".json"
	if err := out.WriteFile(r.PlanFile, raw); err != nil {
		r.Result, r.PlanFile = document.Failed, ""
		r.Faults = append(r.Faults, document.Fault{Message: err.Error(), Hint: "The plan is too large for an output, so it goes into the workspace. Check that the step may write there."})
	}
	return r
}
