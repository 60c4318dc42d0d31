package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"streamctl/internal/diag"
	"streamctl/pipeline"
)

func (a *app) validateCommand() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check pipeline files, without a broker",
		Long: `Check pipeline files: their shape, names, types, keys and partitioning. Nothing is
contacted, and ${...} is not replaced. What is wrong is printed with its place;
with errors the exit code is 3.`,
		Args: someArgs("FILE..."),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args, set) },
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "replace the value at a path of the file, as PATH=VALUE; may be repeated")
	return cmd
}

// validation is what is found out about one file.
type validation struct {
	File        string    `json:"file"`
	Valid       bool      `json:"valid"`
	Diagnostics diag.List `json:"diagnostics"`
}

func (a *app) validate(paths, set []string) error {
	var results []validation
	invalid := 0
	for _, path := range paths {
		src, err := readPipeline(path)
		if err != nil {
			return err
		}
		r, list := pipeline.Check(path, src, pipeline.ParseOptions{Set: set})
		v := validation{File: path, Valid: !list.HasErrors(), Diagnostics: list}
		results = append(results, v)
		if !v.Valid {
			invalid++
		}
		if a.output == outputText {
			if err := a.printValidation(v, r.File); err != nil {
				return err
			}
		}
	}
	if a.output == outputJSON {
		if err := a.printJSON(results); err != nil {
			return err
		}
	}
	if invalid > 0 {
		return &failure{code: exitInvalid, err: errInvalid, silent: true}
	}
	return nil
}

func (a *app) printValidation(v validation, file *pipeline.File) error {
	if len(v.Diagnostics) == 0 {
		_, err := fmt.Fprintf(a.stdout, "%s: valid\n", v.File)
		return err
	}
	if err := a.printer(file, a.stdout).Print(a.stdout, v.Diagnostics); err != nil {
		return err
	}
	verdict := "valid, with"
	if !v.Valid {
		verdict = "invalid:"
	}
	_, err := fmt.Fprintf(a.stdout, "\n%s: %s %s\n", v.File, verdict, v.Diagnostics.Summary())
	return err
}
