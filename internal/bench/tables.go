package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// oneImageCases are the names of the cases of one image.
func oneImageCases() (names []string) {
	for _, s := range oneImage {
		names = append(names, s.name)
	}
	return names
}

func titleOf(name string) string {
	for _, s := range scenarios {
		if s.name == name {
			return s.title
		}
	}
	return name
}

func (r *results) measured(names []string) (some []string) {
	for _, n := range names {
		if len(r.figures[n]) > 0 {
			some = append(some, n)
		}
	}
	return some
}

// one is the table of the cases of one image, and that of the ratios.
func (r *results) one(p *page) {
	names := r.measured(oneImageCases())
	if len(names) == 0 {
		return
	}
	p.say("## One image")
	p.say("Wall time, and requests at both registries.")
	r.compare(p, names)
}

// plain is the same without TLS.
func (r *results) plain(p *page) {
	var names []string
	for _, n := range oneImageCases() {
		names = append(names, plainName(n))
	}
	if names = r.measured(names); len(names) == 0 {
		return
	}
	p.say("## One image, over plain HTTP")
	p.say("As above, with no TLS and so no HTTP/2, as registries are reached on loopback only.")
	r.compare(p, names)
}

func (r *results) compare(p *page, names []string) {
	titles := []string{}
	for _, n := range names {
		titles = append(titles, titleOf(n))
	}
	var times, ratios [][]string
	for _, t := range tools {
		if !r.ran(names[0], t.name) {
			continue
		}
		row, compared, peak := []string{t.name}, []string{t.name}, int64(0)
		for _, n := range names {
			row = append(row, r.cell(n, t.name))
			compared = append(compared, shown(r.ratio(n, t.name, wall)))
			peak = max(peak, r.peak(n, t.name))
		}
		times = append(times, append(row, mebibytes(peak), t.carries))
		if t.name != us {
			ratios = append(ratios, compared)
		}
	}
	p.table(append(append([]string{""}, titles...), "peak memory", "carries"), times)
	if r.ran(names[0], us) && len(ratios) > 0 {
		p.say("Our wall time divided by theirs:")
		p.table(append([]string{""}, titles...), ratios)
	}
}

func (r *results) cell(scenario, tool string) string {
	f, ok := r.median(scenario, tool)
	switch {
	case !r.ran(scenario, tool):
		return "—"
	case !ok:
		return "fails"
	}
	return fmt.Sprintf("%s, %d", seconds(f.wall), len(f.requests))
}

// connected is the table of connections and handshakes.
func (r *results) connected(p *page) {
	names := r.measured(slices.Concat(oneImageCases(), []string{"many", "plan", "plan-again", "crowd", "layer"}))
	if len(names) == 0 {
		return
	}
	head := []string{""}
	for _, n := range names {
		head = append(head, titleOf(n))
	}
	var rows [][]string
	for _, t := range tools {
		row := []string{t.name}
		for _, n := range names {
			cell := "—"
			if f, ok := r.busiest(n, t.name); ok {
				cell = f.connected()
			}
			row = append(row, cell)
		}
		if slices.ContainsFunc(row[1:], func(cell string) bool { return cell != "—" }) {
			rows = append(rows, row)
		}
	}
	p.say("## Connections")
	p.say(`Connections, and TLS handshakes on them, at the source's registry and at the target's: "1/1 + 26/26". A connection
without a handshake was opened and not used. Where a tool runs once for each image, it is the sum.`)
	p.table(head, rows)
}

// many is the table of the 40 images.
func (r *results) many(p *page) {
	if len(r.figures["many"]) == 0 {
		return
	}
	p.say("## 40 images")
	p.say(`A release of 40 services, each image in a repository of its own: 2 platforms × 5 layers × 256 KiB, with the attachments
of the image above. Ours is one run with a line for each image, and no tag moves before everything is copied and
verified. The others run once for each image, one after the other. %s`, r.onceOnly("many"))
	var rows [][]string
	for _, t := range tools {
		if r.ran("many", t.name) {
			faster := "—"
			if q, ok := r.ratio("many", t.name, wall); ok && t.name != us {
				faster = fmt.Sprintf("%.1f ×", 1/q)
			}
			taken := []string{"—", "—", "—"}
			if f, ok := r.median("many", t.name); ok {
				taken = []string{seconds(f.cpu), seconds(f.registries), mebibytes(r.peak("many", t.name))}
			}
			rows = append(rows, slices.Concat([]string{t.name, r.cell("many", t.name), faster}, taken, []string{t.carries}))
		}
	}
	p.table([]string{"", "wall, requests", "we are faster by", "processor", "registries' processor", "peak memory", "carries"}, rows)
}

// plans is the table of what it takes to plan the 40 images.
func (r *results) plans(p *page) {
	var rows [][]string
	for _, name := range r.measured([]string{"plan", "plan-again"}) {
		if f, ok := r.median(name, us); ok {
			rows = append(rows, []string{titleOf(name), seconds(f.wall), fmt.Sprint(len(f.requests)), mebibytes(r.peak(name, us))})
		} else {
			rows = append(rows, []string{titleOf(name), "fails", "—", "—"})
		}
	}
	if rows == nil {
		return
	}
	p.say("## A plan of them")
	p.say(`The same 40 images, planned: each is resolved, everything that belongs to it is read, its tag at the target too, and
what is missing there is counted. Nothing is written.`)
	p.table([]string{"", "wall", "requests", "peak memory"}, rows)
}

// onceOnly names who was measured once and not several times.
func (r *results) onceOnly(scenario string) string {
	var names []string
	for _, t := range tools {
		if len(r.figures[scenario][t.name]) == 1 && r.runs > 1 {
			names = append(names, t.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "Measured once: " + strings.Join(names, ", ") + "."
}

// sharing shows that the cost follows the unique blobs.
func (r *results) sharing(p *page) {
	var rows [][]string
	for _, count := range sharing {
		name := sharedName(count)
		if !r.ran(name, us) {
			continue
		}
		blobs, size, listed := uniqueBlobs(count)
		row := []string{fmt.Sprint(count), fmt.Sprint(listed), fmt.Sprint(blobs), fmt.Sprintf("%.1f MB", mega(size))}
		f, ok := r.median(name, us)
		if !ok {
			rows = append(rows, append(row, "fails", "—", "—", "—", "—", "—"))
			continue
		}
		sent, uploads, mounts := moved(f.requests)
		rows = append(rows, append(row, fmt.Sprintf("%.1f MB", mega(sent)), fmt.Sprint(uploads), fmt.Sprint(mounts),
			fmt.Sprint(len(f.requests)), fmt.Sprintf("%.1f", float64(len(f.requests))/float64(blobs)), seconds(f.wall)))
	}
	if rows == nil {
		return
	}
	p.say("## Cost by unique blobs")
	p.say(`Images on one base: four layers that all platforms of all images have, and one of each platform's own, all of
1 MiB; a config for each platform. Each image goes to a repository of its own, under two tags, in one run. A blob that
several images, platforms or tags have is sent once a run; where another repository needs it, the registry is asked to
mount it. Measured once.`)
	p.table([]string{"images", "blobs listed", "unique", "their bytes", "bytes sent", "blobs sent", "mounted", "requests", "per unique blob", "wall"}, rows)
}

func mega(n int64) float64 { return float64(n) / 1e6 }

// uniqueBlobs counts the blobs of the images on one base, and how often manifests
// list one.
func uniqueBlobs(count int) (unique int, size int64, listed int) {
	seen := map[string]bool{}
	for n := range count {
		i := imageOnBase(n)
		listed += 2 * (5 + 1) // platforms of five layers and a config
		for _, b := range i.Blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				size += b.Size
			}
		}
	}
	return len(seen), size, listed
}

// moved counts what blobs cost: the bytes in uploads' bodies, the uploads that
// were completed, and the mounts.
func moved(requests []seen) (bytes int64, uploads, mounts int) {
	for _, q := range requests {
		if !strings.Contains(q.Path, "/blobs/uploads/") {
			continue
		}
		bytes += q.Received
		switch {
		case q.Status != http.StatusCreated:
		case strings.Contains(q.Query, "mount="):
			mounts++
		default:
			uploads++
		}
	}
	return bytes, uploads, mounts
}

// memoryTable is the peak of our process.
func (r *results) memoryTable(p *page) {
	var rows [][]string
	for _, name := range slices.Concat(r.ours(), r.measured([]string{"crowd-free"})) {
		peak, spent := "fails", "—"
		if f, ok := r.median(name, us); ok {
			peak, spent = mebibytes(r.peak(name, us)), seconds(f.cpu)
		}
		rows = append(rows, []string{titleOf(name), peak, spent})
	}
	if rows == nil {
		return
	}
	p.say("## Memory")
	p.say(`The peak of our process's resident memory, and its processor time. Nothing is staged on disk. The 200 images are as the
40 above. The program limits its memory, unless the user sets GOMEMLIMIT: near the limit it collects garbage more often. The
case without the limit shows what that costs in processor time. The large layer, of %s, goes between two registries that make
it while it is read and hash and forget it while it is written, without a simulated network.`, gibibytes(r.layer))
	p.table([]string{"", "peak memory", "processor"}, rows)
}

// ours are the cases over TLS that our program ran, as users run it.
func (r *results) ours() (names []string) {
	for _, s := range scenarios {
		if s.at != plain && s.env == nil && r.ran(s.name, us) {
			names = append(names, s.name)
		}
	}
	return names
}

func gibibytes(n int64) string { return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30)) }

// processor is the processor time of all tools.
func (r *results) processor(p *page) {
	names := r.measured([]string{"cross", "layer"})
	if len(names) == 0 {
		return
	}
	p.say("## Processor time")
	p.say(`User and system time of the tool's process for copying across registries, and for each byte of the image's blobs;
beside it the two registries' own. The large layer moves as fast as the machine can, without a simulated network.`)
	for _, name := range names {
		size := r.layer
		if name == "cross" {
			size = regtest.ReferenceImage().Size()
		}
		var rows [][]string
		for _, t := range tools {
			if !r.ran(name, t.name) {
				continue
			}
			f, ok := r.median(name, t.name)
			if !ok {
				rows = append(rows, []string{t.name, "fails", "—", "—", "—", "—", "—"})
				continue
			}
			ratio := "—"
			if t.name != us {
				ratio = shown(r.ratio(name, t.name, cpu))
			}
			rows = append(rows, []string{
				t.name, seconds(f.cpu), fmt.Sprintf("%.2f ns", float64(f.cpu)/float64(size)), ratio,
				seconds(f.registries), seconds(f.wall), mebibytes(f.memory),
			})
		}
		title := "the image above"
		if name == "layer" {
			title = "a layer of " + gibibytes(r.layer)
		}
		p.table([]string{title, "processor", "per byte", "ours to theirs", "registries' processor", "wall", "peak memory"}, rows)
	}
}

// failures says why a tool has no figure.
func (r *results) failures(p *page) {
	var rows [][]string
	for _, s := range scenarios {
		for _, t := range tools {
			for _, f := range r.figures[s.name][t.name] {
				if f.failure != "" {
					rows = append(rows, []string{t.name, s.title, strings.ReplaceAll(f.failure, "|", `\|`)})
					break
				}
			}
		}
	}
	if rows != nil {
		p.say("## What fails")
		p.table([]string{"", "", "its last line"}, rows)
	}
}
