package bench

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"

	"tutti/cmd/tutti/load"
	chartpage "tutti/cmd/tutti/page"
)

// The parts of the HTML report: everything is in the one file, so that it can
// be read without a network.
var (
	//go:embed report.html
	page string
	//go:embed report.js
	charts string
)

var pageTemplate = template.Must(template.New("report").Parse(page))

// bar is a part of a step's transfers that ended alike.
type bar struct {
	Ending  load.Ending
	Count   uint64
	Percent float64
	Class   string
}

// bars are a step's, in order.
type bars struct {
	Step *Step
	Bars []bar
}

// classes are how endings look.
var classes = map[load.Ending]string{
	load.OK: "ok", load.Failed: "failed", load.Duplicate: "duplicate", load.Unpayable: "unpayable", load.BadSignature: "bad",
	load.Refused: "refused", load.Unsent: "unsent", load.Unheard: "unheard", load.Unrecorded: "unrecorded", load.Unexecuted: "unexecuted",
}

func (s *Step) bars() bars {
	b := bars{Step: s}
	for _, e := range load.Endings {
		if n := s.Endings[e]; n > 0 {
			b.Bars = append(b.Bars, bar{e, n, 100 * float64(n) / float64(s.Followed), classes[e]})
		}
	}
	return b
}

// Accepted returns the share of transfers that a proposer had.
func (b bars) Accepted() string { return b.Step.percent(b.Step.Accepted) }

// Landed returns the share of transfers that were executed.
func (b bars) Landed() string { return b.Step.percent(b.Step.Landed) }

// Lost returns the share of transfers that were not.
func (b bars) Lost() string { return b.Step.percent(b.Step.Lost) }

// Outcomes says how transfers ended.
func (b bars) Outcomes() []string { return b.Step.outcomes() }

// html returns the report as one page with charts.
func (r *Report) html() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	v := struct {
		*Report
		chartpage.Library
		Rows         []bars
		Legend       []bar
		Data, Charts template.JS
	}{
		Report: r, Library: chartpage.UPlot(),
		Data: template.JS(data), Charts: template.JS(charts),
	}
	seen := map[load.Ending]bool{}
	for i := range r.Steps {
		row := r.Steps[i].bars()
		v.Rows = append(v.Rows, row)
		for _, b := range row.Bars {
			seen[b.Ending] = true
		}
	}
	for _, e := range load.Endings {
		if seen[e] {
			v.Legend = append(v.Legend, bar{Ending: e, Class: classes[e]})
		}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
