package main

import "fmt"

// asked is a figure that the project set itself.
type asked struct {
	what, limit string
	// reached is the figure as it is shown, and whether it holds; not measured if
	// it is empty.
	reached func(*results) (text string, holds bool)
}

const memoryLimit = 64 << 20

// recording is how many requests a record may take besides, in a registry without the
// referrers API.
const recording = 14

var wishes = []asked{
	within("cross", 1.2), against("cross", crane, 0.55), against("cross", regctlEverything, 0.22),
	within("again", 0.62), against("again", regctlEverything, 0.65),
	within("retag", 0.35), against("retag", regctl, 1.1),
	within("mount", 0.88), against("mount", crane, 0.75),
	against("many", crane, 1.0/8),
	within("plan", 1.5), within("plan-again", 1.5),
	requests("cross", 275+recording), requests("again", 112), requests("mount", 170+recording), requests("retag", 11+recording),
	resident("cross"), resident("layer"), resident("crowd"),
	spent("cross"), spent("layer"),
}

// reached is the table of what was asked beside what was measured.
func (r *results) reached(p *page) {
	var rows [][]string
	for _, a := range wishes {
		text, holds := a.reached(r)
		if text == "" {
			continue
		}
		verdict := "yes"
		if !holds {
			verdict = "**no**"
		}
		rows = append(rows, []string{a.what, a.limit, text, verdict})
	}
	if rows != nil {
		p.say("## Asked and reached")
		p.table([]string{"", "asked", "reached", "holds"}, rows)
	}
}

// of makes a figure out of our median run.
func of(scenario string, reach func(figure) (string, bool)) func(*results) (string, bool) {
	return func(r *results) (string, bool) {
		if !r.ran(scenario, us) {
			return "", false
		}
		f, ok := r.median(scenario, us)
		if !ok {
			return "fails", false
		}
		return reach(f)
	}
}

func within(scenario string, limit float64) asked {
	return asked{titleOf(scenario) + ": wall", fmt.Sprintf("%.2f s", limit), of(scenario, func(f figure) (string, bool) {
		return seconds(f.wall), f.wall.Seconds() <= limit
	})}
}

func requests(scenario string, limit int) asked {
	return asked{titleOf(scenario) + ": requests", fmt.Sprint(limit), of(scenario, func(f figure) (string, bool) {
		return fmt.Sprint(len(f.requests)), len(f.requests) <= limit
	})}
}

func resident(scenario string) asked {
	return asked{titleOf(scenario) + ": peak memory", mebibytes(memoryLimit), func(r *results) (string, bool) {
		if !r.ran(scenario, us) {
			return "", false
		}
		if _, ok := r.median(scenario, us); !ok {
			return "fails", false
		}
		most := r.peak(scenario, us)
		return mebibytes(most), most <= memoryLimit
	}}
}

func against(scenario, peer string, limit float64) asked {
	return compared(scenario, peer, "wall to that of "+peer, limit, wall)
}

func spent(scenario string) asked {
	return compared(scenario, crane, "processor time to that of "+crane, 1, cpu)
}

func compared(scenario, peer, what string, limit float64, value func(figure) float64) asked {
	return asked{titleOf(scenario) + ": " + what, fmt.Sprintf("%.3g", limit), func(r *results) (string, bool) {
		if !r.ran(scenario, us) || !r.ran(scenario, peer) {
			return "", false
		}
		ratio, ok := r.ratio(scenario, peer, value)
		if !ok {
			return "fails", false
		}
		return fmt.Sprintf("%.3g", ratio), ratio <= limit
	}}
}
