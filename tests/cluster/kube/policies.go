package main

import (
	"flag"
	"strings"
	"sync"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// enforcePolicies is the part of kube-router that turns NetworkPolicies into a node's iptables rules, alone: its
// own command would route and proxy too, and brings the code of both.
func enforcePolicies() {
	kubeconfig := flag.String("kubeconfig", "", "whom to ask, and as whom")
	node := flag.String("hostname-override", "", "the node's name")
	services := flag.String("service-cluster-ip-range", "", "addresses of Services: of IPv4, perhaps also of IPv6")
	flag.Parse()

	access, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(access)
	config := options.NewKubeRouterConfig()
	config.HostnameOverride = *node
	config.ClusterIPCIDRs = strings.Split(*services, ",")
	config.EnableIPv4 = true
	config.EnableIPv6 = len(config.ClusterIPCIDRs) > 1

	objects := informers.NewSharedInformerFactory(client, 0)
	pods := objects.Core().V1().Pods().Informer()
	namespaces := objects.Core().V1().Namespaces().Informer()
	policies := objects.Networking().V1().NetworkPolicies().Informer()
	never := make(chan struct{})
	objects.Start(never)
	objects.WaitForCacheSync(never)

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		klog.Fatal(err)
	}
	enforcer, err := netpol.NewNetworkPolicyController(
		client, config, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
	if err != nil {
		klog.Fatal(err)
	}
	heard := map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods:       enforcer.PodEventHandler,
		namespaces: enforcer.NamespaceEventHandler,
		policies:   enforcer.NetworkPolicyEventHandler,
	}
	for informer, handler := range heard {
		if _, err := informer.AddEventHandler(handler); err != nil {
			klog.Fatal(err)
		}
	}

	beats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range beats { // for a health server that nobody asks
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	enforcer.Run(beats, never, &running)
}
