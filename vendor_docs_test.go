package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

const registriesPage = "docs/registries.md"

// TestVendorDocs holds the generated parts of docs/registries.md to what TestVendors runs: the table says that a
// scenario passes where no list says that it fails, and TestVendors fails where that is not so.
func TestVendorDocs(t *testing.T) {
	raw, err := os.ReadFile(registriesPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	parts := map[string]string{"vendors": vendorTable(), "traits": traitTable(), "others": otherTable(), "real": realTable(t)}
	for name, text := range parts {
		part := regexp.MustCompile(`(?s)(<!-- ` + name + ` -->\n).*?(<!-- /` + name + ` -->)`)
		if !part.MatchString(page) {
			t.Fatalf("%s has no part %q", registriesPage, name)
		}
		page = part.ReplaceAllStringFunc(page, func(old string) string {
			m := part.FindStringSubmatch(old)
			return m[1] + "\n" + text + "\n" + m[2]
		})
	}
	if page == string(raw) {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s is not current: run go test -run TestVendorDocs . -update", registriesPage)
	}
	if err := os.WriteFile(registriesPage, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reasons are why scenarios fail, each once, in order.
func reasons() []string {
	var all []string
	for _, f := range lists() {
		if !slices.Contains(all, f.why) {
			all = append(all, f.why)
		}
	}
	return all
}

// vendorTable has a row for each scenario and a column for each vendor.
func vendorTable() string {
	var b strings.Builder
	b.WriteString("| scenario |")
	for _, v := range regtest.Vendors {
		fmt.Fprintf(&b, " %s |", v.Name)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(regtest.Vendors)) + "\n")
	why := reasons()
	for _, scenario := range vendorScenarios {
		fmt.Fprintf(&b, "| [%s](../testdata/script/%s.txtar) |", strings.ReplaceAll(scenario, "_", " "), scenario)
		for _, v := range regtest.Vendors {
			cell := "✓"
			if f, listed := failingOf(v.Name, scenario); listed {
				cell = fmt.Sprint(slices.Index(why, f.why) + 1)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	if len(why) > 0 {
		b.WriteString("\nFails today:\n\n")
	}
	for n, reason := range why {
		fmt.Fprintf(&b, "%d. %s\n", n+1, reason)
	}
	return b.String()
}

const traitHead = "| registry | trait | what a client sees | source |\n| --- | --- | --- | --- |\n"

func traitTable() string {
	var b strings.Builder
	b.WriteString(traitHead)
	for _, v := range regtest.Vendors {
		for n, t := range v.Traits {
			title := ""
			if n == 0 {
				title = fmt.Sprintf("%s (`%s`)", v.Title, v.Name)
			}
			b.WriteString(traitRow(title, t))
		}
	}
	return b.String()
}

func traitRow(title string, t regtest.Trait) string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", title, t.Name, t.Does, t.Source)
}

func otherTable() string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(strings.Replace(traitHead, "| --- ", "", 1), "| registry "))
	for _, t := range regtest.Others() {
		b.WriteString(strings.TrimPrefix(traitRow("", t), "|  "))
	}
	return b.String()
}

const (
	interopScript  = ".ci/interop"
	interopResults = "testdata/interop.txt"
)

var interopCall = regexp.MustCompile(`(?m)^scenarios ([a-z0-9-]+) `)

// realTable has a row for each registry that .ci/interop runs, as it has counted last.
func realTable(t *testing.T) string {
	t.Helper()
	results, err := os.ReadFile(interopResults)
	if err != nil {
		t.Fatal(err)
	}
	rows, date := map[string]string{}, ""
	var b strings.Builder
	b.WriteString("| registry | settings | scenarios passed | failed | fail as known |\n| --- | --- | --- | --- | --- |\n")
	for line := range strings.Lines(string(results)) {
		if m := regexp.MustCompile(`-update on (\S+)\.`).FindStringSubmatch(line); m != nil {
			date = m[1]
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, row, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if !ok || strings.Count(row, " | ") != 4 || rows[name] != "" {
			t.Fatalf("%s: %q is not NAME | REGISTRY | SETTINGS | PASSED | FAILED | FAILED AS KNOWN, or is there twice", interopResults, line)
		}
		rows[name] = row
		fmt.Fprintf(&b, "| %s |\n", row)
	}
	fmt.Fprintf(&b, "\nAs of %s.\n", date)
	checkInterop(t, rows)
	return b.String()
}

// checkInterop holds the rows to the registries that .ci/interop runs: each of them, and no other.
func checkInterop(t *testing.T, rows map[string]string) {
	t.Helper()
	script, err := os.ReadFile(interopScript)
	if err != nil {
		t.Fatal(err)
	}
	calls := interopCall.FindAllStringSubmatch(string(script), -1)
	if len(calls) == 0 {
		t.Fatalf("%s runs nothing", interopScript)
	}
	for _, call := range calls {
		if rows[call[1]] == "" {
			t.Errorf("%s lacks %q, which %s runs: run %s -update", interopResults, call[1], interopScript, interopScript)
		}
		delete(rows, call[1])
	}
	for name := range rows {
		t.Errorf("%s has %q, which %s does not run", interopResults, name, interopScript)
	}
}
