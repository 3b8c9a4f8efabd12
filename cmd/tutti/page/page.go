// Package page writes reports of tables and charts: as Markdown, and as one
// HTML file that needs no network.
package page

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"
)

// uPlot draws charts in a browser. Reports hold all of it.
var (
	//go:embed third_party/uplot/uPlot.iife.min.js
	uplotJS string
	//go:embed third_party/uplot/uPlot.min.css
	uplotCSS string
	//go:embed third_party/uplot/LICENSE
	uplotLicense string
	//go:embed page.html
	html string
	//go:embed page.js
	charts string
)

// Library is a chart library as a page takes it up.
type Library struct {
	CSS     template.CSS
	Code    template.JS
	License template.JS
}

// UPlot returns the library of the charts.
func UPlot() Library {
	return Library{
		CSS: template.CSS(uplotCSS), Code: template.JS(uplotJS),
		License: template.JS("/* uPlot\n" + uplotLicense + "\n*/"),
	}
}

// Page is a report.
type Page struct {
	Title string
	Parts []Part
}

// Part has a heading, text, a table and a chart, or some of them.
type Part struct {
	Heading string
	Text    string // paragraphs, with an empty line between them
	Table   *Table
	Chart   *Chart
}

// Table has cells of text; the first column names the row.
type Table struct {
	Head []string
	Rows [][]string
}

// Chart shows y over x.
type Chart struct {
	X string `json:"x"`
	Y string `json:"y"`
	// LogX and LogY give x and y a logarithmic scale.
	LogX   bool     `json:"log_x"`
	LogY   bool     `json:"log_y"`
	Series []Series `json:"series"`
}

// Series is a line of a chart, x ascending.
type Series struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
}

// Markdown writes the page without its charts.
func (p *Page) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.Title)
	for i := range p.Parts {
		part := &p.Parts[i]
		if part.Text == "" && part.Table == nil {
			continue // a chart alone
		}
		if part.Heading != "" {
			fmt.Fprintf(&b, "\n## %s\n", part.Heading)
		}
		if part.Text != "" {
			fmt.Fprintf(&b, "\n%s\n", part.Text)
		}
		if t := part.Table; t != nil {
			fmt.Fprintf(&b, "\n| %s |\n|---|%s\n", strings.Join(t.Head, " | "), strings.Repeat("---:|", len(t.Head)-1))
			for _, row := range t.Rows {
				fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var pageTemplate = template.Must(template.New("page").Parse(html))

// HTML writes the page with its charts.
func (p *Page) HTML(w io.Writer) error {
	drawn := make(map[string]*Chart)
	for i := range p.Parts {
		if c := p.Parts[i].Chart; c != nil {
			drawn[chartID(i)] = c
		}
	}
	data, err := json.Marshal(drawn)
	if err != nil {
		return fmt.Errorf("charts of %q: %w", p.Title, err)
	}
	return pageTemplate.Execute(w, struct {
		*Page
		Library
		Data, Charts template.JS
	}{p, UPlot(), template.JS(data), template.JS(charts)})
}

func chartID(part int) string { return fmt.Sprintf("chart%d", part) }

// marks are what texts may have of Markdown's, and what they are in HTML.
var marks = []struct {
	mark *regexp.Regexp
	html string
}{
	{regexp.MustCompile("`([^`]+)`"), "<code>$1</code>"},
	{regexp.MustCompile(`\*\*([^*]+)\*\*`), "<strong>$1</strong>"},
	{regexp.MustCompile(`\*([^*]+)\*`), "<em>$1</em>"},
}

// Paragraphs returns the text's paragraphs in HTML.
func (p Part) Paragraphs() []template.HTML {
	if p.Text == "" {
		return nil
	}
	var paragraphs []template.HTML
	for text := range strings.SplitSeq(p.Text, "\n\n") {
		text = template.HTMLEscapeString(text)
		for _, m := range marks {
			text = m.mark.ReplaceAllString(text, m.html)
		}
		paragraphs = append(paragraphs, template.HTML(text))
	}
	return paragraphs
}

// ChartID returns the name of the element for the chart of the part with that
// index.
func (p *Page) ChartID(part int) string { return chartID(part) }
