// Every program of the cluster in one executable, since they share most of their code: six Kubernetes
// programs, etcd and CoreDNS are 150 MB together and 700 MB apart. The first argument names the program.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	_ "time/tzdata" // CronJobs name time zones, and the machine may have no table of them

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs maps a name to its main function; each reads os.Args as if it were alone.
var programs = map[string]func(){
	"coredns": serveNames,
	"etcd":    func() { etcdmain.Main(os.Args) },
	"kube-apiserver": func() {
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	},
	"kube-controller-manager": func() {
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	},
	"kube-proxy": func() {
		os.Exit(cli.Run(proxy.NewProxyCommand()))
	},
	"kube-router": enforcePolicies,
	"kube-scheduler": func() {
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	},
	"kubectl": func() {
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	},
	"kubelet": func() {
		os.Exit(cli.Run(kubelet.NewKubeletCommand(context.Background())))
	},
}

// serveNames runs CoreDNS with the plugins linked above; the order is the one in which a query passes them.
func serveNames() {
	dnsserver.Directives = []string{"errors", "ready", "cache", "kubernetes", "template"}
	coremain.Run()
}

func main() {
	if len(os.Args) > 1 {
		if run, known := programs[os.Args[1]]; known {
			os.Args = os.Args[1:]
			run()
			return
		}
	}
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintln(os.Stderr, "usage: kube PROGRAM ARGUMENT..., PROGRAM one of", strings.Join(names, ", "))
	os.Exit(2)
}
