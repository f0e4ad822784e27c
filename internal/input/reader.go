package input

import (
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/sethvargo/go-githubactions"
)

// maxValue bounds every input, in bytes.
const maxValue = 1 << 20

// reader collects values and faults.
type reader struct {
	values   map[string]string // by input's name, trimmed; empty or absent: not given
	flags    map[string]bool   // inputs given as a flag
	faults   []Fault
	settings *Settings

	// What Configure needs besides.
	workspace string // where relative paths lie; empty: the working directory
	place     place  // of the config
	parse     func(path string, raw []byte) (*config.Config, error)
	sources   []promote.Source // for an environment of the config
	fixed     []wish           // likewise
	overrides []string         // gates
	plan      *document.Plan   // of mode apply
	notices   []string         // for the report
	denied    *DeniedError     // why the plan is not applied, as its text alone says
}

// Read makes settings of the arguments and of the environment's variables, by
// their names; a flag wins over the variable. If inputs are faulty the error is an [*Error] with
// every fault, and the settings hold whatever could be read: their secrets are
// complete. If help was asked for the error is [ErrHelp].
func Read(args []string, env map[string]string, now time.Time) (*Settings, error) {
	getenv := func(name string) string { return env[name] }
	r := &reader{values: map[string]string{}, flags: map[string]bool{}, settings: &Settings{}, parse: config.Parse}
	r.settings.reader = r
	help := r.readArguments(args)
	r.readVariables(getenv)
	r.readProxies(env)
	r.refuseUnknown(env)
	if help {
		return r.settings, ErrHelp
	}
	r.dropOversized()
	r.dropBlankLists()
	r.readPlace()
	r.readScalars(getenv, now)
	r.readJob(getenv)
	r.readCredentials(getenv)
	r.readCertificates()
	r.readItems()
	return r.settings, r.err()
}

// readVariables reads what no flag has set. The runner's names keep their
// hyphens: INPUT_DRY-RUN.
func (r *reader) readVariables(getenv func(string) string) {
	action := githubactions.New(githubactions.WithGetenv(getenv))
	for _, in := range Table {
		value := action.GetInput(in.Name)
		r.keepSecret(in, value)
		if !r.flags[in.Name] {
			r.values[in.Name] = value
		}
	}
}

func (r *reader) dropOversized() {
	for _, in := range Table {
		if size := len(r.values[in.Name]); size > maxValue {
			r.refuse(in.Name, strconv.Itoa(size)+" bytes", "at most "+strconv.Itoa(maxValue), "")
			r.values[in.Name] = ""
		}
	}
}

// dropBlankLists makes a list of nothing but blanks and comments count as not
// given.
func (r *reader) dropBlankLists() {
	for _, in := range Table {
		if in.Kind != List && in.Kind != ListCSV {
			continue
		}
		if items, f := splitList(r.values[in.Name], in.Kind == ListCSV); f == nil && len(items) == 0 {
			r.values[in.Name] = ""
		}
	}
}

// text is the input's value, else its default.
func (r *reader) text(name string) string {
	if value := r.values[name]; value != "" {
		return value
	}
	in, _, _ := lookup(name)
	return in.initial()
}

// list is the input's items; a faulty list has none.
func (r *reader) list(name string) []item {
	in, _, _ := lookup(name)
	items, f := splitList(r.text(name), in.Kind == ListCSV)
	r.add(name, f)
	return items
}

// refuse notes a fault; the input's own example stands in for a missing one.
func (r *reader) refuse(name, given, expected, example string) {
	if _, _, ok := lookup(name); ok && example == "" {
		example = exampleOf(name)
	}
	r.faults = append(r.faults, Fault{name, given, expected, example})
}

// add notes a fault that something found in the named input, if it found one.
func (r *reader) add(name string, f *Fault) (faulty bool) {
	if f != nil {
		r.refuse(name, f.Given, f.Expected, f.Example)
	}
	return f != nil
}

func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	faults := sorted(r.faults)
	for i := range faults {
		faults[i] = r.scrub(faults[i])
	}
	return &Error{Faults: faults}
}

// scrub takes out secrets that stand where they do not belong, such as an
// unquoted password with a blank in it, whose second half became an argument.
func (r *reader) scrub(f Fault) Fault {
	const shortest = 4 // less is no secret, and would garble the text
	for _, secret := range r.settings.Secrets {
		if len(secret) < shortest {
			continue
		}
		hidden := strings.NewReplacer(secret, "***", plain(secret), "***")
		f = Fault{hidden.Replace(f.Input), hidden.Replace(f.Given), hidden.Replace(f.Expected), hidden.Replace(f.Example)}
	}
	return f
}
