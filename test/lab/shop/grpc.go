package main

import (
	"io"
	"log"
	"math/rand"
	"net/http"
	"strings"
	"time"
)

// gRPC's own statuses, which come after the answer; that of HTTP is always 200.
const (
	grpcOK            = "0"
	grpcUnimplemented = "12"
	grpcInternal      = "13"
)

// The shop for those who speak gRPC: HTTP/2 in plain text, as between a gateway and its backends, and one method,
// shop.Shop/Browse, from an empty message to an empty message. It is counted with the requests by HTTP: what fails is
// a 500 there.
func newGRPCServer(config settings, host string, metrics *metrics) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	routes := http.NewServeMux()
	routes.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		if !strings.HasPrefix(request.Header.Get("Content-Type"), "application/grpc") {
			http.Error(response, "this port speaks gRPC", http.StatusUnsupportedMediaType)
			return
		}
		response.Header().Set("Content-Type", "application/grpc")
		response.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		if request.URL.Path != "/shop.Shop/Browse" {
			endGRPC(response, grpcUnimplemented, "the shop has one method, shop.Shop/Browse")
			return
		}
		began := time.Now()
		// What an empty message carries is nobody's business; a client that went away is its own.
		_, _ = io.Copy(io.Discard, request.Body)
		time.Sleep(config.latency)
		response.Header().Set("X-Version", config.version)
		response.Header().Set("X-Pod", host)
		if rand.Float64() < config.errorShare {
			endGRPC(response, grpcInternal, "the shop has failed")
			metrics.observe(http.StatusInternalServerError, time.Since(began))
			return
		}
		// One message: not compressed, of no bytes.
		_, _ = response.Write([]byte{0, 0, 0, 0, 0})
		endGRPC(response, grpcOK, "")
		metrics.observe(http.StatusOK, time.Since(began))
	})
	return &http.Server{Addr: config.grpcListen, Handler: routes, Protocols: protocols}
}

// The headers go out before, so that a client has them apart from the trailers also where there is no message.
func endGRPC(response http.ResponseWriter, status, message string) {
	if err := http.NewResponseController(response).Flush(); err != nil {
		log.Printf("a client went away: %s", err)
	}
	response.Header().Set("Grpc-Status", status)
	response.Header().Set("Grpc-Message", message)
}
