// The sample shop of the lab: a server of HTTP, and of gRPC beside it, whose version, mistakes and slowness are set by its
// environment, so that one binary makes all the images of scripts/lab (see ../shop-images.ts for what each is). Standard
// library only.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type settings struct {
	listen     string
	grpcListen string
	version    string
	message    string        // for whoever wants to see that a ConfigMap has arrived
	errorShare float64       // of the requests, 0 to 1, answered by 500
	latency    time.Duration // added to each request
	ready      bool
	crash      bool
	hoardMiB   int           // memory taken at the start
	drain      time.Duration // how long it still serves after SIGTERM
}

func main() {
	// The sandbox of each pod is the same image, told to do nothing.
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		stopped := make(chan os.Signal, 1)
		signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
		<-stopped
		return
	}
	config := read()
	if config.crash {
		log.Fatalf("shop %s: cannot read the price list: no such file", config.version)
	}
	hoard := take(config.hoardMiB)
	serve(config)
	_ = hoard
}

func read() settings {
	return settings{
		listen:     text("SHOP_LISTEN", ":8080"),
		grpcListen: text("SHOP_GRPC_LISTEN", ":50051"),
		version:    text("SHOP_VERSION", "unversioned"),
		message:    text("SHOP_MESSAGE", ""),
		errorShare: number("SHOP_ERROR_SHARE", 0),
		latency:    time.Duration(number("SHOP_LATENCY_MS", 0) * float64(time.Millisecond)),
		ready:      text("SHOP_READY", "true") == "true",
		crash:      text("SHOP_CRASH", "false") == "true",
		hoardMiB:   int(number("SHOP_HOARD_MIB", 0)),
		drain:      time.Duration(number("SHOP_DRAIN_S", 5) * float64(time.Second)),
	}
}

func text(name, otherwise string) string {
	if value, there := os.LookupEnv(name); there && value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise float64) float64 {
	value := text(name, "")
	if value == "" {
		return otherwise
	}
	parsed, err := strconv.ParseFloat(value, 64)
	if err != nil || parsed < 0 {
		log.Fatalf("%s is '%s'; it must be a number that is not negative", name, value)
	}
	return parsed
}

// Memory counts once it has been written to.
func take(mebibytes int) []byte {
	memory := make([]byte, mebibytes<<20)
	for at := 0; at < len(memory); at += 4096 {
		memory[at] = 1
	}
	return memory
}

func serve(config settings) {
	var draining atomic.Bool
	metrics := newMetrics()
	host, _ := os.Hostname()

	routes := http.NewServeMux()
	routes.HandleFunc("/livez", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, "alive") })
	routes.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) {
		if !config.ready || draining.Load() {
			http.Error(response, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(response, "ready")
	})
	routes.HandleFunc("/metrics", func(response http.ResponseWriter, _ *http.Request) { metrics.write(response) })
	routes.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		began := time.Now()
		time.Sleep(config.latency)
		status := http.StatusOK
		if rand.Float64() < config.errorShare {
			status = http.StatusInternalServerError
		}
		response.Header().Set("X-Version", config.version)
		response.Header().Set("X-Pod", host)
		response.Header().Set("Content-Type", "application/json")
		response.WriteHeader(status)
		// A client that went away is its own business.
		_ = json.NewEncoder(response).Encode(map[string]string{
			"version": config.version, "pod": host, "path": request.URL.Path, "message": config.message,
		})
		metrics.observe(status, time.Since(began))
	})

	server := &http.Server{Addr: config.listen, Handler: routes}
	grpc := newGRPCServer(config, host, metrics)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stopped := make(chan os.Signal, 1)
		signal.Notify(stopped, syscall.SIGTERM, syscall.SIGINT)
		<-stopped
		// Whoever routes here learns from the pod's end and the failing probe, later than the signal: until then, and
		// for those who keep a connection, it goes on serving.
		draining.Store(true)
		server.SetKeepAlivesEnabled(false)
		time.Sleep(config.drain)
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var both sync.WaitGroup
		for _, one := range []*http.Server{server, grpc} {
			both.Add(1)
			go func() {
				defer both.Done()
				_ = one.Shutdown(patience)
			}()
		}
		both.Wait()
	}()
	go func() {
		if err := grpc.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	log.Printf("shop %s listens on %s, and for gRPC on %s", config.version, config.listen, config.grpcListen)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-ended
}
