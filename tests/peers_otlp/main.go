// Reads one ExportTraceServiceRequest from standard input and says what the OpenTelemetry
// Collector's own data model finds in it: a JSON object for each span.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

type span struct {
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	TraceState string         `json:"trace_state"`
	Name       string         `json:"name"`
	Start      uint64         `json:"start"`
	End        uint64         `json:"end"`
	Events     int            `json:"events"`
	Links      int            `json:"links"`
	Keys       []string       `json:"keys"`
	Attributes map[string]any `json:"attributes"`
	Resource   map[string]any `json:"resource"`
	Scope      string         `json:"scope"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	// A request has the fields of a TracesData message.
	decoder := ptrace.ProtoUnmarshaler{}
	traces, err := decoder.UnmarshalTraces(data)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, one := range scope.Spans().All() {
				keys := []string{}
				for key := range one.Attributes().All() {
					keys = append(keys, key)
				}
				found := span{
					one.TraceID().String(), one.SpanID().String(), one.TraceState().AsRaw(), one.Name(),
					uint64(one.StartTimestamp()), uint64(one.EndTimestamp()),
					one.Events().Len(), one.Links().Len(),
					keys, one.Attributes().AsRaw(),
					resource.Resource().Attributes().AsRaw(), scope.Scope().Name(),
				}
				if err := encoder.Encode(found); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
