// Package measure runs what reports compare, clusters in the simulated world
// and devnets on this machine, and writes the reports' files.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tutti/cmd/tutti/devnet"
	"tutti/cmd/tutti/page"
	"tutti/cmd/tutti/setup"
)

// Devnet says how devnets on this machine are measured.
type Devnet struct {
	Validators int
	Load       int           // transfers a second
	Duration   time.Duration // of the load
}

// devnetTimeMin is the shortest time that says anything.
const devnetTimeMin = 5 * time.Second

// Check returns a *setup.Error for what cannot be measured.
func (d *Devnet) Check() error {
	switch {
	case d.Duration < devnetTimeMin:
		return setup.Errorf("--local-duration %v: use %v or more", d.Duration, devnetTimeMin)
	case d.Load < 1:
		return setup.Errorf("--local-load %d: use 1 or more", d.Load)
	}
	return nil
}

// Run runs a devnet with options besides these, in a directory that is
// removed. If ctx is done before the end the error is ctx's.
func (d *Devnet) Run(ctx context.Context, o devnet.Options) (*devnet.Summary, error) {
	dir, err := os.MkdirTemp("", "tutti-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o.Ledger, o.Summary = filepath.Join(dir, "ledger"), filepath.Join(dir, "summary.json")
	o.Validators, o.Load, o.Duration = d.Validators, d.Load, d.Duration
	if err = devnet.Run(ctx, o, io.Discard); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(o.Summary)
	if err != nil {
		return nil, err
	}
	s := &devnet.Summary{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("summary of a devnet: %w", err)
	}
	return s, nil
}

// Files are where a report goes besides standard output: all figures as JSON,
// and a page with charts. "" is for none.
type Files struct{ JSON, HTML string }

// Check returns a *setup.Error if the files cannot be written.
func (f *Files) Check() error {
	for _, file := range []string{f.JSON, f.HTML} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return setup.Errorf("%s is no directory: name files for reports in one that exists", filepath.Dir(file))
		}
	}
	return nil
}

// Write writes the files.
func (f *Files) Write(figures any, p *page.Page) error {
	if f.JSON != "" {
		b, err := json.MarshalIndent(figures, "", "  ")
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := os.WriteFile(f.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if f.HTML != "" {
		file, err := os.Create(f.HTML)
		if err != nil {
			return err
		}
		if err := errors.Join(p.HTML(file), file.Close()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
