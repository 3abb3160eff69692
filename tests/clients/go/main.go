// go-redis with default settings, writing a ledger of every answer; see ../README.md.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const breath = 2 * time.Millisecond

func main() {
	host := flag.String("host", "", "")
	port := flag.Int("port", 0, "")
	password := flag.String("password", "", "")
	id := flag.String("id", "", "")
	path := flag.String("ledger", "", "")
	seconds := flag.Float64("seconds", 1e9, "")
	flag.Parse()

	var stopping atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { <-signals; stopping.Store(true) }()

	file, err := os.Create(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ledger := bufio.NewWriter(file)
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{
		Addr:     fmt.Sprintf("%s:%d", *host, *port),
		Password: *password,
	})

	started := time.Now()
	last, gap := started, time.Duration(0)
	for turn := 1; !stopping.Load() && time.Since(started).Seconds() < *seconds; turn++ {
		for _, operation := range []string{"incr", "append"} {
			var line string
			var err error
			if operation == "incr" {
				var value int64
				value, err = client.Incr(ctx, "c:"+*id).Result()
				line = fmt.Sprintf("incr %d", value)
			} else {
				var length int64
				length, err = client.Append(ctx, "log:"+*id, fmt.Sprintf("%d,", turn)).Result()
				line = fmt.Sprintf("append %d %d", turn, length)
			}
			if err != nil {
				line = strings.ReplaceAll(fmt.Sprintf("error %s %T: %v", operation, err, err), "\n", " ")
				time.Sleep(50 * time.Millisecond)
			}
			now := time.Now()
			gap = max(gap, now.Sub(last))
			last = now
			fmt.Fprintln(ledger, line)
			ledger.Flush()
		}
		time.Sleep(breath)
	}
	fmt.Fprintf(ledger, "end %.1f\n", float64(gap.Microseconds())/1000)
	ledger.Flush()
}
