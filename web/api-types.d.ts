// Generated from schema/ by tools/generate. Do not edit.

/** Files that a VM is started with. */
export type MigrationFile = 'kernel' | 'initrd';

/** Sockets of a migration. */
export type MigrationChannel = 'control' | 'memory' | 'disks';

/** What the source's agent asks of the target's. */
export type MigrationAct = 'start_target' | 'drop_target';

/** Where an operation is. */
export type OperationState = 'unknown' | 'running' | 'done' | 'failed' | 'interrupted';

/** Where an address comes from. */
export type AddressSource = 'lease' | 'agent' | 'arp';

/** Whether a template can be used. */
export type TemplateState = 'buildable' | 'building' | 'ready' | 'failed';

/** Layouts of disk images that can be imported. */
export type ImportFormat = 'auto' | 'raw' | 'qcow2' | 'vmdk' | 'vdi' | 'vhd' | 'vhdx';

/** Drivers of the agent. */
export type HypervisorDriver = 'qemu' | 'xen' | 'fake';

/** How guests are run. */
export type Acceleration = 'auto' | 'kvm' | 'emulation';

/** What the manager knows of a host. */
export type HostState = 'unknown' | 'connecting' | 'connected' | 'unreachable' | 'refused' | 'degraded' | 'stopping';

/** What became of a host's `control`. */
export type ControlState = 'open' | 'applied' | 'pending' | 'failed';

/** Which kernel modules a host may load. */
export type ModulePolicy = 'open' | 'allow_list';

/** What became of a host's list of kernel modules. */
export type ModulesState = 'open' | 'applied' | 'failed';

/** Where a kernel module is. */
export type ModuleState = 'loaded' | 'available' | 'blocked' | 'builtin';

/** What is at an address. */
export type FoundState = 'new' | 'ours' | 'owned' | 'other_version' | 'foreign' | 'refused' | 'unreachable' | 'unknown';

/** What of a host's processor guests get. */
export type GuestCpu = 'common' | 'host';

/** What a repository lies on. */
export type RepositoryKind = 'dir' | 'shared';

/** How a repository is. */
export type RepositoryState = 'unknown' | 'ready' | 'failed';

/** How a network reaches the world. */
export type NetworkKind = 'nat' | 'bridge';

/** How a network is. */
export type NetworkState = 'unknown' | 'active' | 'partial' | 'failed';

/** Where a job is in its life. */
export type JobState = 'queued' | 'running' | 'undoing' | 'succeeded' | 'failed' | 'cancelled' | 'lost';

/** Kinds of principals. */
export type PrincipalKind = 'user' | 'service';

/** What a principal may do. */
export type Role = 'none' | 'viewer' | 'operator' | 'administrator';

/** Whether a recovery kit is worth something. */
export type KitState = 'none' | 'current' | 'outdated';

/** Firmware of a virtual machine. */
export type Firmware = 'bios' | 'uefi';

/** PCs that can be emulated. */
export type Chipset = 'pc' | 'q35';

/** How the hypervisor presents the machine. */
export type VmMode = 'auto' | 'hvm' | 'pvh' | 'pv';

/** What to boot from. */
export type BootDevice = 'disk' | 'cd' | 'network';

/** What happens with a VM when its host starts. */
export type RunPolicy = 'manual' | 'always' | 'last';

/** What a VM does now. */
export type VmState = 'unknown' | 'creating' | 'stopped' | 'starting' | 'running' | 'paused' | 'stopping' | 'saving' | 'saved' | 'crashed' | 'deleting' | 'failed';

/** Kinds of drives. */
export type DiskKind = 'disk' | 'cd';

/** Layouts of disk files. */
export type DiskFormat = 'raw' | 'qcow2';

/** Buses of disks. */
export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide';

/** How a disk is made from another one. */
export type CloneMethod = 'auto' | 'reflink' | 'overlay' | 'full';

/** Models of network interfaces. */
export type NicModel = 'virtio' | 'e1000' | 'e1000e' | 'rtl8139';

/** Graphics consoles. */
export type Graphics = 'none' | 'vnc';

/** What a VM can do in one mode on this host. */
export interface HostMode {
  /** How the hypervisor presents the machine. */
  mode: VmMode;
  /** Starts from a disk by a boot loader of its own. */
  boot_disk?: boolean;
  /** Starts whatever a PC starts: any boot loader, any system, a CD that installs one. */
  boot_any?: boolean;
  /** Starts a kernel that is handed over. */
  boot_kernel?: boolean;
  /** Starts from the network by PXE. */
  boot_network?: boolean;
  /** Starts by UEFI firmware, where that is installed. */
  uefi?: boolean;
  /** Has a graphics console. */
  graphics?: boolean;
  /** Has a serial console. */
  serial?: boolean;
  /** Gets more vCPUs while it runs, up to `vcpus_maximum`. */
  vcpus_add?: boolean;
  /** Gives vCPUs back while it runs. */
  vcpus_remove?: boolean;
  /** Gets more memory while it runs, up to `memory_maximum`. */
  memory_add?: boolean;
  /** Gives memory back while it runs. */
  memory_remove?: boolean;
  /** Gets a disk while it runs. */
  disk_attach?: boolean;
  /** Lets go of a disk while it runs. */
  disk_detach?: boolean;
  /** Sees a disk grow while it runs. */
  disk_grow?: boolean;
  /** Gets a network interface while it runs. */
  nic_attach?: boolean;
  /** Lets go of a network interface while it runs. */
  nic_detach?: boolean;
  /** Has CD drives that may be empty and whose medium changes while it runs. */
  cd_change?: boolean;
  /** Can be held and go on. */
  pause?: boolean;
  /** Can be reset. */
  reset?: boolean;
  /** Can be saved to a file and go on from it. */
  save?: boolean;
  /** Can be copied while it runs, all its disks as they are at one moment. */
  copy?: boolean;
  /** Tells what it uses of CPUs, disks and networks. */
  statistics?: boolean;
  /** Hears an agent inside the guest: its addresses are shown, whoever gave them. */
  guest_agent?: boolean;
  /** Moves to another host while it runs, where both see its disks. */
  migrate_live?: boolean;
  /** Takes its disks along when it moves to another host while it runs. */
  migrate_copy?: boolean;
}

/** A network address of a guest and how it is known. */
export interface Address {
  /** IPv4 or IPv6 address. */
  address: string;
  /** The NIC that has it. */
  mac?: string;
  /** Who says so. */
  source: AddressSource;
}

/** How far something is. */
export interface Progress {
  /** Estimated share that is done. */
  percent?: number;
  /** What is being done now. */
  phase?: string;
  /** Bytes done. Bytes. */
  done?: number;
  /** Bytes in all. Bytes. */
  total?: number;
}

/** An error, as REST (RFC 9457), jobs and events show it. */
export interface Fault {
  /** `urn:lodge:error:` and the error's code. */
  type: string;
  /** The error's code, such as `not-found`. */
  code: string;
  /** The code in words. */
  title?: string;
  /** The HTTP status. */
  status?: number;
  /** What happened, with its causes. */
  detail?: string;
  /** JSON pointer of the field at fault. */
  field?: string;
  /** What to do next. */
  hint?: string;
}

/** How a list is filtered, sorted and paged. */
export interface ListQuery {
  /** Conditions joined by commas, all must hold: `state=running,name~web,memory>1GiB,tags=prod`. */
  filter?: string;
  /** Fields joined by commas; `-` in front for descending: `-memory,name`. */
  sort?: string;
  /** How many at most. */
  limit?: number;
  /** Continues after a page: the `next` of that page. */
  cursor?: string;
  /** Only these fields, joined by commas. */
  fields?: string;
}

/** Nothing. */
export interface Empty {
}

/** A VM that is only copied; built from distribution packages, imported, or made from a VM. */
export interface Template {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** Where its files lie. */
  repository?: string;
  /** What it is built from; absent for an imported one. */
  recipe?: string;
  /** Whether it can be used. */
  readonly state?: TemplateState;
  /** Short id from the guest OS database. */
  guest_os?: string;
  /** Which firmware its disk boots with. */
  firmware?: Firmware[];
  /** Virtual CPUs of a VM made from it, unless asked otherwise. */
  vcpus?: number;
  /** Memory of a VM made from it, unless asked otherwise. Bytes. */
  memory?: number;
  /** With less the guest does not come up. Bytes. */
  memory_minimum?: number;
  /** The guest takes its host name, keys and identity from cloud-init. */
  has_cloud_init?: boolean;
  /** The guest agent is installed. */
  has_guest_agent?: boolean;
  /** Its disks. */
  readonly disks?: TemplateDisk[];
  /** Kernel and initial RAM disk when no boot loader is involved. */
  readonly direct_boot?: DirectBoot;
  /** Graphics console of a VM made from it, unless asked otherwise. */
  graphics?: Graphics;
  /** Bytes that its files occupy. Bytes. */
  readonly size?: number;
  /** When it was built or imported. */
  readonly built?: string;
  /** Versions of the main packages in it. */
  readonly packages?: string;
  /** The VM that it was made from. */
  readonly source_vm?: string;
  /** The settings last used to make VMs from it. */
  readonly last_settings?: unknown;
  /** Name of `repository`. */
  readonly repository_name?: string;
}

/** A disk of a template. */
export interface TemplateDisk {
  /** Names the file in the repository. */
  readonly id?: string;
  /** Layout of the file. */
  format: DiskFormat;
  /** What the guest sees. Bytes. */
  size: number;
  /** Checksum of the file. */
  sha256?: string;
}

/** How to build a template. */
export interface TemplateBuild {
  /** Build it anew though it is ready; VMs made before keep their disks. */
  rebuild?: boolean;
  /** Where to keep it; the only repository when absent. */
  repository?: string;
}

/** An image to import as template. */
export interface TemplateImport {
  /** What to call it. */
  name: string;
  /** URL (http, https) that the host fetches; absent when the image is uploaded. */
  source?: string;
  /** Id of the upload that it was made from; set by Lodge. */
  readonly upload?: string;
  /** Layout of the image. */
  format?: ImportFormat;
  /** Checksum that the image must have. */
  sha256?: string;
  /** Where to keep it; the only repository when absent. */
  repository?: string;
  /** Short id from the guest OS database. */
  guest_os?: string;
  /** Which firmware its disk boots with; bios when absent. */
  firmware?: Firmware[];
  /** The guest has cloud-init. */
  has_cloud_init?: boolean;
  /** Virtual CPUs of a VM made from it. */
  vcpus?: number;
  /** Memory of a VM made from it. Bytes. */
  memory?: number;
  /** Free text for people. */
  description?: string;
  /** Words to find it by. */
  tags?: string[];
}

/** A template made from a stopped VM. */
export interface TemplateCreate {
  /** What to call it. */
  name: string;
  /** The VM to copy; must be stopped. */
  from_vm: string;
  /** Free text for people. */
  description?: string;
  /** Words to find it by. */
  tags?: string[];
}

/** A CD or DVD image in a repository. */
export interface Iso {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** Where it lies. */
  repository?: string;
  /** Its size. Bytes. */
  readonly size?: number;
  /** Its checksum. */
  readonly sha256?: string;
  /** Name of `repository`. */
  readonly repository_name?: string;
}

/** An ISO to import. */
export interface IsoImport {
  /** What to call it. */
  name: string;
  /** URL (http, https) that the host fetches; absent when it is uploaded. */
  source?: string;
  /** Id of the upload that it was made from; set by Lodge. */
  readonly upload?: string;
  /** Checksum that it must have. */
  sha256?: string;
  /** Where to keep it; the only repository when absent. */
  repository?: string;
  /** Free text for people. */
  description?: string;
}

/** A guest operating system and the devices that a VM gets for it unless its definition says otherwise. */
export interface GuestOsInfo {
  /** libosinfo's short id, such as `debian12`. */
  readonly id?: string;
  /** Its name. */
  readonly name?: string;
  /** Such as `linux`, `winnt`, `freebsd`. */
  readonly family?: string;
  /** Bus of disks. */
  readonly disk_bus?: DiskBus;
  /** Bus of CD drives. */
  readonly cd_bus?: DiskBus;
  /** Model of NICs. */
  readonly nic_model?: NicModel;
  /** Firmware of a VM made without template. */
  readonly firmware?: Firmware;
  /** The hardware's clock shows local time, not UTC. */
  readonly local_clock?: boolean;
  /** With less it does not work. Bytes. */
  readonly memory_minimum?: number;
  /** Memory of a VM made without template. Bytes. */
  readonly memory_recommended?: number;
}

/** A server with an agent. */
export interface Host {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** The pool it belongs to. */
  pool?: string;
  /** Where its agent listens: a host name or address with or without a port (7444), or `unix:PATH`. */
  address: string;
  /** Fingerprint of the key that its agent shows; absent where it is reached by a UNIX socket. */
  readonly key?: string;
  /** Which hypervisor it runs; another one when the machine was started as another kind of host. */
  driver?: HypervisorDriver;
  /** `auto` believes what a probe finds to work; the others override it. */
  acceleration?: Acceleration;
  /** Memory kept for the host itself. Bytes. */
  memory_reserve?: number;
  /** True: no VM is made or started here. */
  readonly maintenance?: boolean;
  /** What of its processor guests get, as it was told last: it counts while the host is away. */
  readonly cpu_seen?: HostCpu;
  /** VMs that were moved away when its maintenance began. */
  readonly evacuated?: string[];
  /** What the system that controls the hypervisor keeps for itself, where that is a guest itself; from the host's next start on. */
  control?: HostControl;
  /** Which kernel modules it may load; all when absent. */
  modules?: HostModules;
  /** What its agent reports. */
  readonly status?: HostStatus;
  /** Name of `pool`. */
  readonly pool_name?: string;
}

/** What a host's agent reports. */
export interface HostStatus {
  /** Which hypervisor it runs now. */
  driver?: HypervisorDriver;
  /** Whether it answers. */
  state: HostState;
  /** Why, when it is not simply connected. */
  reason?: string;
  /** Since when it is in this state. */
  since?: string;
  /** Version of its agent. */
  agent_version?: string;
  /** Its own name. */
  hostname?: string;
  /** The kernel that runs. */
  kernel?: string;
  /** Another one after each start of the host. */
  boot_id?: string;
  /** Distribution and version. */
  operating_system?: string;
  /** Hypervisor and version. */
  hypervisor?: string;
  /** Version of libvirt. */
  libvirt?: string;
  /** `kvm`, `xen` or `emulation`. */
  acceleration?: string;
  /** What the probe found. */
  acceleration_reason?: string;
  /** Logical CPUs. */
  cpus?: number;
  /** Model name of its CPUs. */
  cpu_model?: string;
  /** What of its processor guests get; absent where they are emulated, because then all hosts have the same. */
  cpu?: HostCpu;
  /** Features that other hosts of its pool lack; told of a single host. */
  cpu_beyond?: string[];
  /** Features that all other hosts of its pool have; told of a single host. */
  cpu_lacks?: string[];
  /** Memory in all. Bytes. */
  memory?: number;
  /** Memory that could be given to guests now. Bytes. */
  memory_free?: number;
  /** Memory of the system that controls the hypervisor, where that is a guest itself; never free for VMs. Bytes. */
  control_memory?: number;
  /** vCPUs of that system. */
  control_cpus?: number;
  /** What became of `control`. */
  control_state?: ControlState;
  /** Why it could not be written. */
  control_error?: string;
  /** Running VMs, Lodge's and others. */
  vms_running?: number;
  /** vCPUs that one VM can have here. */
  vcpus_limit?: number;
  /** What each VM mode can do on this host, the preferred one first. */
  modes?: HostMode[];
  /** Maker and product. */
  machine?: string;
  /** `UEFI` or `BIOS`, its maker, version and date. */
  firmware?: string;
  /** Its physical network cards. */
  nics?: HostNic[];
  /** Its disks, local ones and LUNs. */
  disks?: HostDisk[];
  /** By how much its clock was ahead of the manager's when it connected last. Unit: ms. */
  clock_ahead_ms?: number;
  /** What a person should look after. */
  warnings?: string[];
  /** Packages that some features miss. */
  missing_tools?: string[];
  /** What became of `modules`. */
  modules_state?: ModulesState;
  /** Why it could not be applied; what was applied before is still in force. */
  modules_error?: string;
  /** Kernel modules that the host's definition blocks. */
  modules_blocked?: number;
  /** Names of VMs that run here and are not listed: other tools started them (`host vms`), or they are newer than the backup that was restored. */
  unmanaged?: string[];
}

/** What of a host's processor guests get. */
export interface HostCpu {
  /** Its maker. */
  vendor?: string;
  /** The model of the hypervisor's that comes closest. */
  model?: string;
  /** How many features it has. */
  features?: number;
  /** Their names. */
  feature_names?: string[];
  /** Features that its model stands for and it does not have. */
  absent_names?: string[];
}

/** A physical network card. */
export interface HostNic {
  /** Its name on the host. */
  name: string;
  /** Its own address. */
  mac?: string;
  /** Whether a cable with something at its other end is plugged in. */
  link?: boolean;
  /** Of the link. Unit: Mbit/s. */
  speed?: number;
  /** Its kernel module. */
  module?: string;
}

/** A disk of a host. */
export interface HostDisk {
  /** Its name on the host. */
  name: string;
  /** How much it holds. Bytes. */
  size?: number;
  /** Maker and model. */
  model?: string;
  /** Whether it turns. */
  rotational?: boolean;
}

/** What the system that controls the hypervisor keeps for itself. */
export interface HostControl {
  /** Memory; never free for VMs. Bytes. */
  memory?: number;
  /** vCPUs; all of the machine's when absent. */
  vcpus?: number;
}

/** Which kernel modules a host may load. */
export interface HostModules {
  /** Whether `allow` counts. */
  policy?: ModulePolicy;
  /** Kernel modules that may be loaded, with all that they need; `-` and `_` are the same. */
  allow?: string[];
}

/** A kernel module of a host. */
export interface HostModule {
  /** The name again. */
  readonly id?: string;
  /** Its name, with `_`. */
  readonly name: string;
  /** Where it is. */
  readonly state: ModuleState;
  /** How often the kernel counts it as used; of loaded ones. */
  readonly uses?: number;
  /** Loaded modules that need it. */
  readonly used_by?: string[];
  /** It is used, or a device is driven by it. */
  readonly in_use?: boolean;
  /** Memory that it occupies, or size of its file. Bytes. */
  readonly size?: number;
  /** What it says of itself; of loaded ones. */
  readonly description?: string;
  /** Modules that are loaded with it. */
  readonly needs?: string[];
  /** The host's definition lets it be loaded. */
  readonly allowed: boolean;
  /** Why it is allowed although it is not listed. */
  readonly reason?: string;
  /** Whether it can be loaded after the next start: neither Lodge nor the host's own configuration blocks it. */
  readonly returns: boolean;
  /** Files that it may ask for and that are not there; of loaded ones. */
  readonly missing_firmware?: string[];
}

/** A host to manage. */
export interface HostAdd {
  /** What to call it. */
  name: string;
  /** Where its agent listens: a host name or address with or without a port (7444), or `unix:PATH`; the name when absent. */
  address?: string;
  /** The one-time code that `lodge-agent enrol` shows on the host; not needed for `unix:PATH`. */
  enrol_code?: string;
  /** The pool it joins; the only one when absent. */
  pool?: string;
  /** Free text for people. */
  description?: string;
  /** Words to find it by. */
  tags?: string[];
}

/** Where to look for hosts. */
export interface HostDiscover {
  /** Names, addresses (`192.0.2.7`, `[2001:db8::7]:7444`), ranges (`192.0.2.5-40`), networks (`192.0.2.0/24`); 65,536 addresses in all. */
  addresses?: string[];
  /** Further ones, one a line. */
  more?: string[];
  /** Also tell of addresses of networks and ranges that do not answer, and where nothing is known to listen. */
  all?: boolean;
  /** How many to try a second, at most; no limit when absent. */
  rate?: number;
  /** How long to wait for an answer. Unit: ms. */
  timeout_ms?: number;
}

/** What was found at an address. */
export interface FoundHost {
  /** Where; with its port, where that is not 7444. */
  readonly address: string;
  /** What is there. */
  readonly state: FoundState;
  /** Id of the host. */
  readonly id?: string;
  /** What it calls itself, or what this manager calls it. */
  readonly name?: string;
  /** Version of its agent. */
  readonly version?: string;
  /** Which hypervisor it runs. */
  readonly driver?: HypervisorDriver;
  /** The manager that owns it. */
  readonly owner?: string;
  /** Fingerprint of its key. */
  readonly key?: string;
  /** What else listens there: `ssh`, `libvirt`. */
  readonly services?: string[];
  /** Why, or what else is known. */
  readonly detail?: string;
}

/** Hosts to take by the secret of their pool. */
export interface HostEnrol {
  /** Where their agents listen; each is called as it calls itself. */
  addresses: string[];
  /** The pool whose secret they hold and that they join; the only one when absent. */
  pool?: string;
}

/** A host that another manager has released. */
export interface HostTake {
  /** What to call it. */
  name: string;
  /** Where its agent listens; the name when absent. */
  address?: string;
  /** The one-time code that `lodge-agent enrol` shows on the host. */
  enrol_code?: string;
  /** The pool it joins; the only one when absent. */
  pool?: string;
}

/** How a host is found and believed again. */
export interface HostRenew {
  /** Where its agent listens now; where it did when absent. */
  address?: string;
  /** The one-time code that `lodge-agent enrol` shows on the host; not needed for `unix:PATH`, nor where the host holds its pool's secret. */
  enrol_code?: string;
}

/** Where a host is to belong. */
export interface HostMove {
  /** The pool. */
  pool: string;
}

/** Whether a host is in maintenance. */
export interface HostMaintenance {
  /** `on` or `off`; in JSON true or false. */
  maintenance: boolean;
  /** With `on`: leaves the VMs that run there where they are. */
  keep?: boolean;
  /** With `off`: brings back the VMs that were moved away when it began, and still run. */
  bring_back?: boolean;
}

/** A group of hosts. */
export interface Pool {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** First three bytes of the MACs given out, such as `52:54:00` or `02:0a:1b`; locally administered. */
  mac_range?: string;
  /** Layout of the keyboards that people use for its VMs, such as `de`, `gb` or `de(nodeadkeys)`. It is kept for the graphics console; nothing uses it yet. */
  keymap?: string;
  /** What of a host's processor guests get by hardware virtualization; `lodge vm update NAME --cpu` says otherwise for one. */
  cpu?: GuestCpu;
  /** What guests were given at their starts where that was not all of their host's processor. */
  readonly cpu_levels?: CpuLevel[];
  /** Hosts that were set up with the same secret (`lodge-agent --enrol-secret-file`) join this pool without a code; at least 16 characters. */
  enrol_secret?: string;
  /** How many VMs move between its hosts at a time while they run; others wait. */
  migrations?: number;
  /** How many of them leave or reach one host at a time. */
  migrations_per_host?: number;
  /** What is in it. */
  readonly status?: PoolStatus;
}

/** A processor that guests are given: less than their host has. */
export interface CpuLevel {
  /** Follows from what it is. */
  id: string;
  /** Its maker. */
  vendor?: string;
  /** The hypervisor's model that it is built on. */
  model?: string;
  /** How many features it has. */
  features?: number;
  /** Their names. */
  feature_names?: string[];
  /** Features that its model may stand for and it does not have. */
  absent_names?: string[];
}

/** What is in a pool. */
export interface PoolStatus {
  /** Hosts. */
  hosts?: number;
  /** VMs. */
  vms?: number;
  /** By how much the clocks of its hosts and the manager's differed when the hosts connected last. Unit: ms. */
  clock_spread_ms?: number;
  /** What the processors of its hosts have in common, of those that told of theirs. */
  cpu?: PoolCpu;
  /** Running VMs that were started with more of a processor than all of its hosts have, and cannot move to each of them. */
  vms_bound?: number;
  /** What each of them has. */
  cpu_hosts?: PoolCpuHost[];
}

/** What several processors have in common. */
export interface PoolCpu {
  /** Their maker, when it is the same. */
  vendor?: string;
  /** The model of a host that has nothing beyond it, when there is one and all have the same maker. */
  model?: string;
  /** How many features all of them have. */
  features?: number;
  /** How many hosts were compared. */
  hosts?: number;
}

/** The processor of one host beside those of its pool. */
export interface PoolCpuHost {
  /** Name of the host. */
  host: string;
  /** Its maker. */
  vendor?: string;
  /** The model that comes closest. */
  model?: string;
  /** How many features it has. */
  features?: number;
  /** How many of them not all hosts have. */
  beyond?: number;
}

/** How much to move. */
export interface PoolBalance {
  /** At most so many. */
  moves?: number;
}

/** How far a pool may be crowded together. */
export interface PoolSaving {
  /** At most so many are emptied. */
  hosts?: number;
  /** How much of its memory a host that takes VMs may promise then. Unit: %. */
  load?: number;
}

/** A place that holds VMs, templates, disks and ISOs, and describes itself. */
export interface Repository {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** What it lies on. */
  kind?: RepositoryKind;
  /** Folder on the host. */
  path: string;
  /** The pool that uses it. */
  pool?: string;
  /** The host that has it; absent where it is shared. */
  host?: string;
  /** How it is. */
  readonly status?: RepositoryStatus;
}

/** How a repository is; reported by its host. */
export interface RepositoryStatus {
  /** Whether it can be used. */
  state: RepositoryState;
  /** Why not. */
  reason?: string;
  /** Size of the file system. Bytes. */
  size?: number;
  /** Free for Lodge. Bytes. */
  free?: number;
  /** Whether files can share blocks. */
  reflink?: boolean;
  /** Kind of file system. */
  file_system?: string;
  /** VMs that lie here and are not listed: made after the backup that was restored. Name and id. */
  unknown_vms?: string[];
  /** VMs that are listed and do not lie here: deleted after the backup that was restored. Name and id. */
  missing_vms?: string[];
  /** What each host sees of a shared one. */
  hosts?: RepositoryView[];
}

/** How a host sees a shared repository. */
export interface RepositoryView {
  /** The host. */
  host: string;
  /** Its name. */
  name?: string;
  /** Whether it can use it. */
  state: RepositoryState;
  /** Why not. */
  reason?: string;
}

/** A network that NICs are plugged into. */
export interface Network {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** How it reaches the world. */
  kind?: NetworkKind;
  /** The pool that has it. */
  pool?: string;
  /** Bridge on each host; must exist for kind `bridge`, is made for kind `nat` (a name of the instance's own when absent). */
  bridge?: string;
  /** Of kind `bridge`: hosts whose bridge has another name. It counts for VMs that start or come from then on. */
  bridges?: NetworkBridge[];
  /** IPv4 subnet of a NAT network, such as `192.168.77.0/24`; a free one when absent. */
  subnet?: string;
  /** How it is. */
  readonly status?: NetworkStatus;
}

/** The bridge of a network on one host. */
export interface NetworkBridge {
  /** The host. */
  host: string;
  /** Its bridge. */
  bridge: string;
}

/** How a network is. */
export interface NetworkStatus {
  /** Whether it can be used. */
  state: NetworkState;
  /** Why not. */
  reason?: string;
  /** How it is on each host of its pool. */
  hosts?: NetworkHost[];
}

/** A network on one host. */
export interface NetworkHost {
  /** Name of the host. */
  host: string;
  /** Whether it can be used there. */
  state: NetworkState;
  /** Its bridge there. */
  bridge?: string;
  /** Why not. */
  reason?: string;
}

/** A disk or CD drive, and whose it is. */
export interface DiskRow {
  /** Names the file in the repository. */
  readonly id?: string;
  /** Unique within the VM. */
  readonly name?: string;
  /** Whose it is. */
  readonly vm?: string;
  /** Name of `vm`. */
  readonly vm_name?: string;
  /** Disk or CD. */
  readonly kind?: DiskKind;
  /** What the guest sees. Bytes. */
  readonly size?: number;
  /** Layout of the file. */
  readonly format?: DiskFormat;
  /** How the guest sees it; absent when it follows from the guest OS. */
  readonly bus?: DiskBus;
  /** The ISO in a CD drive. */
  readonly image?: string;
  /** Name of `image`. */
  readonly image_name?: string;
  /** The guest cannot write. */
  readonly read_only?: boolean;
  /** How its content was made from the template. */
  readonly clone?: CloneMethod;
  /** Where it lies. */
  readonly repository?: string;
  /** Name of `repository`. */
  readonly repository_name?: string;
}

/** A network interface, and whose it is. */
export interface NicRow {
  /** Names it. */
  readonly id?: string;
  /** Unique within the VM. */
  readonly name?: string;
  /** Whose it is. */
  readonly vm?: string;
  /** Name of `vm`. */
  readonly vm_name?: string;
  /** Its MAC. */
  readonly mac?: string;
  /** The first address that the guest has on it. */
  readonly address?: string;
  /** What it is plugged into. */
  readonly network?: string;
  /** Name of `network`. */
  readonly network_name?: string;
  /** What the guest sees; absent when it follows from the guest OS. */
  readonly model?: NicModel;
  /** False: the cable is out. */
  readonly connected?: boolean;
}

/** An object, and where the word was found. */
export interface Match {
  /** Kind of the object: `vm`, `host`, `template`… */
  readonly kind?: string;
  /** Its name. */
  readonly name?: string;
  /** Its id. */
  readonly id?: string;
  /** Where: `name`, `id`, `address`, `mac`, `tag`, `hostname`, `unmanaged` (a VM that Lodge did not make). */
  readonly place?: string;
  /** What stands there; filter by `text~WORD`. */
  readonly text?: string;
  /** The host that a VM is on. */
  readonly host?: string;
}

/** A long operation. */
export interface Job {
  /** Names it. */
  readonly id?: string;
  /** First characters of the id; enough where unique. */
  readonly short_id?: string;
  /** What it does, such as `vm.create`. */
  kind: string;
  /** Where it is in its life. */
  state: JobState;
  /** The object that it is mainly about: kind and id, such as `vm/…`. */
  target?: string;
  /** Name of that object. */
  target_name?: string;
  /** What was asked for. */
  parameters?: unknown;
  /** What came of it. */
  result?: unknown;
  /** Why it failed. */
  error?: Fault;
  /** Number of steps that are done. */
  step?: number;
  /** It goes back after a failure or cancel. */
  undoing?: boolean;
  /** Its steps in order. */
  steps?: JobStep[];
  /** How far it is. */
  progress?: Progress;
  /** The job that it is part of. */
  parent?: string;
  /** Jobs that are part of it. */
  children?: string[];
  /** Objects that it holds or waits for. */
  claims?: Claim[];
  /** Which claim of which job it waits for. */
  waits_for?: string;
  /** Who asked for it. */
  principal?: string;
  /** From where it was asked for. */
  source?: string;
  /** Given by the client, so that a repeated request does not start a second job. */
  idempotency_key?: string;
  /** When it was asked for. */
  created?: string;
  /** When it got its claims. */
  started?: string;
  /** When it ended. */
  ended?: string;
  /** Somebody asked it to stop. */
  cancel_requested?: boolean;
  /** What its steps remember for each other. */
  data?: unknown;
}

/** A step of a job. */
export interface JobStep {
  /** Its name. */
  name: string;
  /** What it does, in words. */
  description?: string;
  /** `pending`, `running`, `done`, `undone` or `failed`. */
  state?: string;
}

/** A job's hold on an object. */
export interface Claim {
  /** Kind and id, such as `vm/…`. */
  object: string;
  /** Grows with every new claim on the object; agents refuse older ones. */
  revision?: number;
  /** Several jobs may hold it so at once. */
  shared?: boolean;
  /** No more than so many, of a shared one. */
  limit?: number;
  /** Who holds it. */
  job?: string;
  /** Since when. */
  since?: string;
  /** What for. */
  reason?: string;
}

/** Why a job's claims are broken. */
export interface JobBreak {
  /** Recorded in the audit. */
  reason: string;
}

/** Something that happened; the audit is the events that have a principal. */
export interface Event {
  /** Number within the epoch. */
  sequence: number;
  /** Changes when the manager restarts: list again. */
  epoch: string;
  /** When. */
  time: string;
  /** `created`, `changed`, `deleted`, `runtime`, `audit`. */
  kind: string;
  /** Kind and id, such as `vm/…`. */
  object?: string;
  /** Name of the object. */
  name?: string;
  /** Who caused it. */
  principal?: string;
  /** From where it was asked for: an address, or the user id on this machine's socket. */
  source?: string;
  /** What was asked for. */
  method?: string;
  /** `ok`, the code of the error, or `accepted`: its job ends with a line of its own. */
  outcome?: string;
  /** The job that caused it. */
  job?: string;
  /** In words. */
  text?: string;
  /** The object as it is now. */
  data?: unknown;
}

/** Somebody who may log in. */
export interface Principal {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** Person or machine. */
  kind?: PrincipalKind;
  /** What it may do everywhere. */
  role?: Role;
  /** What it may do with single objects, such as `object=vm/web-1,role=operator`. */
  grants?: Grant[];
  /** New password; only ever written. */
  password?: string;
  /** yescrypt hash. */
  readonly password_hash?: string;
  /** It cannot log in. */
  disabled?: boolean;
  /** When it last logged in. */
  readonly last_login?: string;
}

/** A role for one object. */
export interface Grant {
  /** Kind and name or id, such as `vm/web-1` or `pool/main` (then for all in it); kept as the id. */
  object: string;
  /** What it may do there. */
  role: Role;
}

/** A secret that stands for a principal. */
export interface Token {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** Whose it is; your own when absent. */
  principal?: string;
  /** When it ends; 90 days from now when absent. */
  expires?: string;
  /** SHA-256 of the secret. */
  readonly hash?: string;
  /** Shown once, when it is made. */
  readonly secret?: string;
  /** Made by a log-in. */
  readonly session?: boolean;
  /** When it was last used. */
  readonly last_used?: string;
  /** Name of `principal`. */
  readonly principal_name?: string;
}

/** This installation. */
export interface SystemInfo {
  /** Version of the manager. */
  version?: string;
  /** Name of the instance. */
  instance?: string;
  /** Id of the manager: the owner of its hosts. */
  manager?: string;
  /** Of the event sequence. */
  epoch?: string;
  /** Grows when a backup is restored. */
  store_epoch?: number;
  /** Of the store. */
  revision?: number;
  /** Hosts. */
  hosts?: number;
  /** VMs. */
  vms?: number;
  /** SHA-256 of the CA's certificate. */
  ca_fingerprint?: string;
  /** When the manager started. */
  started?: string;
  /** Memory that the manager occupies. Bytes. */
  memory?: number;
  /** Whether there is a recovery kit that is worth something. */
  recovery_kit?: RecoveryState;
}

/** What is known of the recovery kit that was made last. */
export interface RecoveryState {
  /** Whether it is worth something. */
  state: KitState;
  /** When it was made. */
  made?: string;
  /** What has changed since, and what to do. */
  reason?: string;
}

/** How a recovery kit is protected. */
export interface RecoveryAsk {
  /** Whoever has it and the kit commands all hosts: 12 characters or more, kept apart from the kit. */
  passphrase: string;
}

/** What a manager on an empty store needs so that the hosts of a lost one believe it. */
export interface RecoveryKit {
  /** `lodge-recovery-kit/1`. */
  format: string;
  /** Id of the manager that made it. */
  manager: string;
  /** When. */
  made: string;
  /** The hosts at that time. */
  hosts?: RecoveryHost[];
  /** SHA-256 of `sealed`. */
  checksum: string;
  /** PKCS #12 in base64, encrypted with the passphrase: the authority of the hosts with its key, hosts with the fingerprints of their keys, pools, and principals with the hashes of their passwords. */
  sealed: string;
}

/** A host that a recovery kit knows. */
export interface RecoveryHost {
  /** Its name. */
  name: string;
  /** Where its agent listens. */
  address: string;
}

/** How a lost manager is made anew. */
export interface SystemRebuild {
  /** The recovery kit; without one, hosts of the lost manager refuse, and it is told how each is set free. */
  kit?: string;
  /** That of the kit. */
  passphrase?: string;
  /** Where to look for hosts, beside those that the kit names: names, addresses, ranges, networks, joined by commas; 65,536 addresses in all. */
  hosts?: string[];
  /** Further ones, one a line. */
  more?: string[];
  /** The secret of hosts without an owner that were set up with one (`lodge-agent --enrol-secret-file`): they are taken too. */
  enrol_secret?: string;
}

/** Name and password. */
export interface Login {
  /** Who. */
  name: string;
  /** The password. */
  password: string;
}

/** The definition of a virtual machine, and beside it (`status`) what it does now. */
export interface Vm {
  /** Never changes; valid across managers. */
  readonly id?: string;
  /** Unique among objects of its kind; letters, digits, dots and hyphens, as in a host name. */
  name: string;
  /** Free text for people. */
  description?: string;
  /** Words to group and find objects by. */
  tags?: string[];
  /** Grows with every change of the definition; the ETag. */
  readonly revision?: number;
  /** Of the store, at the last change. A restored backup begins a new one; of two definitions that with the higher epoch is newer, in one epoch that with the higher revision. */
  readonly epoch?: number;
  /** When the object was made. */
  readonly created?: string;
  /** When the definition last changed. */
  readonly updated?: string;
  /** The hosts on which it may run. */
  pool?: string;
  /** Where its definition and, unless a disk says otherwise, its disks lie. */
  repository?: string;
  /** What it was cloned from. */
  readonly template?: string;
  /** The host chosen for it. */
  readonly host?: string;
  /** Virtual CPUs on line. */
  vcpus?: number;
  /** Up to how many can be added while it runs; as many as `vcpus` when absent. */
  vcpus_maximum?: number;
  /** Memory of the guest. Bytes. */
  memory?: number;
  /** Up to how much can be added while it runs; `memory` when absent. Bytes. */
  memory_maximum?: number;
  /** What starts the guest. */
  firmware?: Firmware;
  /** The PC that is emulated, of a VM that another tool made; follows from the guest OS when absent. */
  readonly chipset?: Chipset;
  /** How the hypervisor presents the machine; `auto` picks one that can do all that is asked for. */
  mode?: VmMode;
  /** Short id from the guest OS database, such as `debian12`; devices follow from it. */
  guest_os?: string;
  /** Tried in this order; disk, then CD, then network when absent. */
  boot_order?: BootDevice[];
  /** Command line for a template that boots a kernel directly. */
  kernel_arguments?: string;
  /** Kernel and initial RAM disk when no boot loader is involved; comes from the template. */
  readonly direct_boot?: DirectBoot;
  /** Disks and CDs in the order in which the guest sees them. */
  disks?: Disk[];
  /** Network interfaces in the order in which the guest sees them. */
  nics?: Nic[];
  /** First-boot settings for guests with cloud-init. */
  cloud_init?: CloudInit;
  /** Serial and graphics console. */
  console?: Console;
  /** Layout of the keyboard that people use for it, such as `de(nodeadkeys)`; its pool's when absent. It is kept for the graphics console; nothing uses it yet. */
  keymap?: string;
  /** What of its host's processor it gets by hardware virtualization, from its next start on; as its pool says when absent. */
  cpu?: GuestCpu;
  /** What happens when its host has started. */
  run_policy?: RunPolicy;
  /** When true it cannot be deleted. */
  protected?: boolean;
  /** Where the processor comes from that it was started with, after it has moved. */
  readonly cpu_from?: VmCpuFrom;
  /** Tags: it is placed on a host that has a VM with one of them, when there is any. Counts when it is made. */
  affinity?: string[];
  /** Tags: it is never placed on a host that has a VM with one of them, nor started beside one that runs; VMs with such a tag keep away from it too. */
  anti_affinity?: string[];
  /** What it does now. */
  readonly status?: VmStatus;
  /** Name of `pool`. */
  readonly pool_name?: string;
  /** Name of `repository`. */
  readonly repository_name?: string;
  /** Name of `template`. */
  readonly template_name?: string;
  /** Name of `host`. */
  readonly host_name?: string;
}

/** A start of a VM that has moved since. */
export interface VmCpuFrom {
  /** The host on which it was started. */
  host: string;
  /** When. A later start does away with it. */
  started: string;
}

/** What a VM does now; reported by its host, not part of the definition. */
export interface VmStatus {
  /** What it does. */
  state: VmState;
  /** Why it is in this state, when that is not obvious. */
  reason?: string;
  /** Addresses of the guest, the most useful one first. */
  addresses?: Address[];
  /** Virtual CPUs that the guest has on line. */
  vcpus_online?: number;
  /** Memory that the guest has now. Bytes. */
  memory_actual?: number;
  /** When it was last started. */
  started?: string;
  /** `kvm`, `xen` or `emulation`. */
  acceleration?: string;
  /** Which of its pool's `cpu_levels` it was started with; absent: all of its host's processor. */
  cpu_level?: string;
  /** How the hypervisor presents the machine since its start: what `mode` asked for, or what `auto` chose. */
  mode?: VmMode;
  /** Version of the guest agent when it answers. */
  agent?: string;
  /** Fields whose new value needs a restart of the VM. */
  pending?: string[];
  /** The job that works on it now. */
  job?: string;
  /** True when it was not made by Lodge. */
  unmanaged?: boolean;
  /** True while an adopted VM still runs as the tool that made it has defined it; its next start is by Lodge's definition. */
  adopted?: boolean;
}

/** What a running VM uses. Counters count from its start; what the hypervisor does not tell is absent. */
export interface VmStatistics {
  /** Id of the VM. */
  id?: string;
  /** Its name. */
  name?: string;
  /** When this was read, by the clock of its host. */
  time?: string;
  /** When it was started. */
  started?: string;
  /** Time for which it has used CPUs, all vCPUs together. Unit: ms. */
  cpu_time_ms?: number;
  /** vCPUs that it has on line. */
  vcpus?: number;
  /** Memory that it has now. Bytes. */
  memory?: number;
  /** Of that, what its guest uses and could not give to a program at once; where the guest tells. Bytes. */
  memory_used?: number;
  /** Memory that it occupies on the host. Bytes. */
  memory_resident?: number;
  /** Its disks and CD drives in the order of the definition. */
  disks?: VmDiskStatistics[];
  /** Its NICs in the order of the definition. */
  nics?: VmNicStatistics[];
}

/** What a VM has read from a disk or CD drive and written to it. */
export interface VmDiskStatistics {
  /** Id of the disk. */
  id?: string;
  /** Its name within the VM. */
  name?: string;
  /** Bytes that were read. Bytes. */
  read_bytes?: number;
  /** Requests that read. */
  read_requests?: number;
  /** Bytes that were written. Bytes. */
  written_bytes?: number;
  /** Requests that wrote. */
  write_requests?: number;
}

/** What a VM has received and sent by a NIC, as the guest sees it. */
export interface VmNicStatistics {
  /** Id of the NIC. */
  id?: string;
  /** Its name within the VM. */
  name?: string;
  /** Bytes that the guest received. Bytes. */
  received_bytes?: number;
  /** Packets that the guest received. */
  received_packets?: number;
  /** Packets for the guest that were faulty. */
  received_errors?: number;
  /** Packets for the guest that were dropped. */
  received_dropped?: number;
  /** Bytes that the guest sent. Bytes. */
  sent_bytes?: number;
  /** Packets that the guest sent. */
  sent_packets?: number;
  /** Packets of the guest that were faulty. */
  sent_errors?: number;
  /** Packets of the guest that were dropped. */
  sent_dropped?: number;
}

/** A kernel started without a boot loader; file names inside the repository's template folder. */
export interface DirectBoot {
  /** The template whose files these are. */
  template: string;
  /** File name of the kernel. */
  kernel: string;
  /** File name of the initial RAM disk. */
  initrd?: string;
  /** Kernel command line. */
  command_line?: string;
}

/** A disk or CD of a VM. */
export interface Disk {
  /** Names the file in the repository. */
  readonly id?: string;
  /** Unique within the VM; `disk0`, `disk1`… when absent. */
  name?: string;
  /** Disk or CD. */
  kind?: DiskKind;
  /** What the guest sees; grows only. Bytes. */
  size?: number;
  /** Layout of the file; chosen by the repository when absent. */
  format?: DiskFormat;
  /** How the guest sees it; follows from the guest OS when absent. */
  bus?: DiskBus;
  /** The ISO in a CD drive; null for an empty drive. */
  image?: string;
  /** The guest cannot write. */
  read_only?: boolean;
  /** How its content was made from the template. */
  readonly clone?: CloneMethod;
  /** True: kept for the VM, but the guest does not see it. */
  detached?: boolean;
  /** File or block device of an adopted VM, outside of the repository: it stays where it is, also when the VM is deleted. */
  readonly path?: string;
  /** Serial number that the guest sees; the first 20 characters of the id when absent. */
  serial?: string;
}

/** A network interface of a VM. */
export interface Nic {
  /** Names it. */
  readonly id?: string;
  /** Unique within the VM; `nic0`, `nic1`… when absent. */
  name?: string;
  /** What it is plugged into; the default network when absent. */
  network?: string;
  /** Unique among all VMs known; from the configured range when absent. */
  mac?: string;
  /** What the guest sees; follows from the guest OS when absent. */
  model?: NicModel;
  /** False: the cable is out. */
  connected?: boolean;
  /** Where an adopted VM has it on PCI, such as `0000:01:00.0`: the guest's own name for it follows from that. */
  readonly pci?: string;
}

/** First-boot settings, given to the guest as a NoCloud medium. */
export interface CloudInit {
  /** False: no medium is attached. */
  enabled?: boolean;
  /** The guest's host name; the VM's name when absent. */
  hostname?: string;
  /** The user who gets the keys and may use sudo. */
  user?: string;
  /** Public keys, one line each as in authorized_keys. */
  ssh_keys?: string[];
  /** Replaces the user part by this cloud-config or script. */
  user_data?: string;
  /** Replaces DHCP on all NICs by this network configuration (version 2). */
  network_config?: string;
}

/** Consoles of a VM. */
export interface Console {
  /** A serial port with a log. */
  serial?: boolean;
  /** Graphics console. */
  graphics?: Graphics;
}

/** Whether a VM could run on a hypervisor in one of its modes. */
export interface VmFit {
  /** Hypervisor and mode. */
  readonly id?: string;
  /** The same. */
  readonly name?: string;
  /** The hypervisor. */
  readonly driver: HypervisorDriver;
  /** How it would present the machine. */
  readonly mode: VmMode;
  /** It can do all that the definition asks for. */
  readonly fits: boolean;
  /** It is what the VM gets there. */
  readonly chosen: boolean;
  /** What stands against it, as a path in the definition. */
  readonly field?: string;
  /** Why it does not fit. */
  readonly reason?: string;
}

/** One VM or many alike, from a template or empty. */
export interface VmCreate {
  /** The name; with a count above one the VMs are called NAME-1, NAME-2…, or by number where it contains `{n}`: `srv-{n}.lab`. */
  name: string;
  /** How many. */
  count?: number;
  /** What to clone; built first if it is not built yet. */
  template?: string;
  /** Start them too. */
  start?: boolean;
  /** Where; the only pool when absent. */
  pool?: string;
  /** On this host; the best one for each VM when absent. */
  host?: string;
  /** Where to keep them; the template's when absent, else the best one for each VM. */
  repository?: string;
  /** How disks are made from the template's. */
  clone?: CloneMethod;
  /** Virtual CPUs; the template's when absent. */
  vcpus?: number;
  /** Up to how many can be added while it runs. */
  vcpus_maximum?: number;
  /** Memory; the template's when absent. Bytes. */
  memory?: number;
  /** Up to how much can be added while it runs. Bytes. */
  memory_maximum?: number;
  /** Size of the first disk; the template's when absent, 10 GiB without template; never smaller. Bytes. */
  disk_size?: number;
  /** The template's when absent. */
  firmware?: Firmware;
  /** How the hypervisor presents the machine; one that can do all that is asked for when absent. */
  mode?: VmMode;
  /** Short id from the guest OS database; the template's when absent. */
  guest_os?: string;
  /** Added to the kernel command line of a template that boots directly. */
  kernel_arguments?: string;
  /** Network of the first NIC; `default` when absent. */
  network?: string;
  /** MAC of the first NIC; only with a count of one. */
  mac?: string;
  /** Public keys for the guest's user. */
  ssh_keys?: string[];
  /** cloud-init user data. */
  user_data?: string;
  /** cloud-init network configuration (version 2) instead of DHCP. */
  network_config?: string;
  /** ISO in a CD drive. */
  iso?: string;
  /** Replaces the template's disks; with no template the disks to make. */
  disks?: Disk[];
  /** Replaces the template's NICs. */
  nics?: Nic[];
  /** Tried in this order. */
  boot_order?: BootDevice[];
  /** Graphics console. */
  graphics?: Graphics;
  /** What of its host's processor it gets; as its pool says when absent. */
  cpu?: GuestCpu;
  /** What happens when the host has started. */
  run_policy?: RunPolicy;
  /** Free text for people. */
  description?: string;
  /** Words to find it by. */
  tags?: string[];
  /** Tags: only on a host that has a VM with one of them, when there is any. */
  affinity?: string[];
  /** Tags: never on a host that has a VM with one of them; with a tag of their own the VMs keep away from each other. */
  anti_affinity?: string[];
}

/** A VM on a host that Lodge did not make, as its hypervisor describes it. */
export interface ForeignVm {
  /** Its uuid, which it keeps. */
  readonly id: string;
  /** What it is called there. */
  readonly name: string;
  /** What it does. */
  readonly state: VmState;
  /** What it is kept by: `libvirt`, `xl`. */
  readonly tool?: string;
  /** That tool starts it with the host. */
  readonly autostart?: boolean;
  /** Virtual CPUs on line. */
  readonly vcpus?: number;
  /** Up to how many can be added while it runs. */
  readonly vcpus_maximum?: number;
  /** Memory of the guest. Bytes. */
  readonly memory?: number;
  /** What starts the guest. */
  readonly firmware?: Firmware;
  /** How the hypervisor presents the machine. */
  readonly mode?: VmMode;
  /** The PC that is emulated. */
  readonly chipset?: Chipset;
  /** Tried in this order. */
  readonly boot_order?: BootDevice[];
  /** Serial and graphics console. */
  readonly console?: Console;
  /** Disks and CD drives in the order in which the guest sees them; their names are the hypervisor's. */
  readonly disks?: Disk[];
  /** Network interfaces in the order in which the guest sees them. */
  readonly nics?: ForeignNic[];
  /** Why it cannot be adopted; none: it can. */
  readonly obstacles?: string[];
  /** What would be otherwise from its next start on. */
  readonly warnings?: string[];
}

/** A network interface of a VM that Lodge did not make. */
export interface ForeignNic {
  /** Its MAC. */
  readonly mac?: string;
  /** What the guest sees. */
  readonly model?: NicModel;
  /** False: the cable is out. */
  readonly connected?: boolean;
  /** The host's bridge that it is plugged into. */
  readonly bridge?: string;
  /** The network of that tool that it is plugged into. */
  readonly network?: string;
  /** Where the guest has it on PCI. */
  readonly pci?: string;
}

/** A VM that another tool made, and what Lodge is to call it. */
export interface VmAdopt {
  /** Its name on the host, or its uuid; `lodge host vms HOST` lists them. */
  vm: string;
  /** The host; the only one when absent. */
  host?: string;
  /** What to call it; as it is called there when absent. */
  name?: string;
  /** Where its definition is kept, and new disks; the only one of its host when absent. */
  repository?: string;
  /** What its NICs are plugged into from its next start on, where no network of Lodge has their bridge. */
  networks?: VmAdoptNetwork[];
  /** What its host told of it. */
  readonly found?: ForeignVm;
}

/** A network of Lodge instead of a bridge, or of another tool's network. */
export interface VmAdoptNetwork {
  /** Name of the bridge, or of the other tool's network. */
  from: string;
  /** The network of Lodge. */
  to: string;
}

/** How to stop. */
export interface VmStop {
  /** Pull the plug if the guest has not stopped in time. */
  force?: boolean;
  /** How long the guest may take. Unit: s. */
  timeout_s?: number;
}

/** How to delete. */
export interface VmDelete {
  /** Pull its plug first if it runs. */
  force?: boolean;
  /** Do not keep its disks in the repository's trash. */
  purge?: boolean;
}

/** Where a VM goes. */
export interface VmMigrate {
  /** The host that is to run it. */
  to_host: string;
  /** Where its disks are copied to. When absent: nowhere, where that host has the repository in which they lie; else the only one of that host. */
  repository?: string;
  /** At most so many bytes a second; no limit when absent. Bytes. */
  bandwidth?: number;
}

/** A copy of a VM with new MACs. */
export interface VmClone {
  /** Name of the copy; with a count above one NAME-1, NAME-2…, or by number where it contains `{n}`. */
  name: string;
  /** How many. */
  count?: number;
  /** How disks are made. */
  clone?: CloneMethod;
  /** Start them too. */
  start?: boolean;
  /** A VM that runs may stand still for as long as its disks are copied byte by byte. Not needed where its repository can share blocks: there it stands still for a moment. */
  hold?: boolean;
}

/** A disk or CD drive to give to a VM: a new one, or one that was detached and kept. */
export interface VmDisk {
  /** Name or id of a detached disk of this VM; the other fields are for new ones. */
  disk?: string;
  /** Its name within the VM; `disk0`, `disk1`… when absent. */
  name?: string;
  /** Size of a new empty disk. Bytes. */
  size?: number;
  /** Disk or CD drive; a disk when absent. */
  kind?: DiskKind;
  /** How the guest sees it; follows from the guest OS when absent. */
  bus?: DiskBus;
  /** Layout of the file. */
  format?: DiskFormat;
  /** The ISO in a CD drive. */
  image?: string;
  /** The guest cannot write. */
  read_only?: boolean;
}

/** Which disk to take away, and what becomes of it. */
export interface VmDiskDetach {
  /** Its name or id. */
  disk: string;
  /** Move its file to the repository's trash; else the VM keeps it and it can be attached again. */
  delete?: boolean;
  /** Delete its file for good. */
  purge?: boolean;
}

/** Which disk grows, and how far. */
export interface VmDiskResize {
  /** Its name or id. */
  disk: string;
  /** The new size; a disk only grows. Bytes. */
  size: number;
}

/** Which NIC to take away. */
export interface VmNicDetach {
  /** Its name, id or MAC. */
  nic: string;
}

/** What changes of a NIC. */
export interface VmNicChange {
  /** Its name, id or MAC. */
  nic: string;
  /** What it is plugged into from now on. */
  network?: string;
  /** Its new MAC. */
  mac?: string;
  /** What the guest sees. */
  model?: NicModel;
  /** False: the cable is out. */
  connected?: boolean;
}

/** Which ISO goes into which drive. */
export interface VmIsoInsert {
  /** The ISO. */
  image: string;
  /** Name or id of the CD drive; the first one when absent. A VM without a drive gets one. */
  drive?: string;
}

/** Which drive is emptied. */
export interface VmIsoEject {
  /** Name or id of the CD drive; the first one with an ISO when absent. */
  drive?: string;
}

/** A page of a list. */
export interface Page<T> {
  items: T[];
  /** The cursor of the next page. */
  next?: string;
  /** Last-Event-ID from which events miss nothing. */
  position: string;
}

/** Every method by its name. */
export interface Methods {
  'template.list': { http: 'GET'; path: '/v1/templates'; parameters: ListQuery; result: Page<Template> };
  'template.get': { http: 'GET'; path: '/v1/templates/{id}'; parameters: Empty; result: Template };
  'template.create': { http: 'POST'; path: '/v1/templates'; parameters: TemplateCreate; result: Job };
  'template.import': { http: 'POST'; path: '/v1/templates/import'; parameters: TemplateImport; result: Job };
  'template.build': { http: 'POST'; path: '/v1/templates/{id}/build'; parameters: TemplateBuild; result: Job };
  'template.update': { http: 'PATCH'; path: '/v1/templates/{id}'; parameters: Template; result: Template };
  'template.delete': { http: 'DELETE'; path: '/v1/templates/{id}'; parameters: Empty; result: Job };
  'iso.list': { http: 'GET'; path: '/v1/isos'; parameters: ListQuery; result: Page<Iso> };
  'iso.get': { http: 'GET'; path: '/v1/isos/{id}'; parameters: Empty; result: Iso };
  'iso.import': { http: 'POST'; path: '/v1/isos/import'; parameters: IsoImport; result: Job };
  'iso.delete': { http: 'DELETE'; path: '/v1/isos/{id}'; parameters: Empty; result: Job };
  'guest-os.list': { http: 'GET'; path: '/v1/guest-oses'; parameters: ListQuery; result: Page<GuestOsInfo> };
  'guest-os.get': { http: 'GET'; path: '/v1/guest-oses/{id}'; parameters: Empty; result: GuestOsInfo };
  'host.discover': { http: 'POST'; path: '/v1/hosts/discover'; parameters: HostDiscover; result: FoundHost };
  'host.enrol': { http: 'POST'; path: '/v1/hosts/enrol'; parameters: HostEnrol; result: Job };
  'host.take': { http: 'POST'; path: '/v1/hosts/take'; parameters: HostTake; result: Job };
  'host.list': { http: 'GET'; path: '/v1/hosts'; parameters: ListQuery; result: Page<Host> };
  'host.get': { http: 'GET'; path: '/v1/hosts/{id}'; parameters: Empty; result: Host };
  'host.create': { http: 'POST'; path: '/v1/hosts'; parameters: HostAdd; result: Host };
  'host.renew': { http: 'POST'; path: '/v1/hosts/{id}/renew'; parameters: HostRenew; result: Host };
  'host.update': { http: 'PATCH'; path: '/v1/hosts/{id}'; parameters: Host; result: Host };
  'host.modules': { http: 'GET'; path: '/v1/hosts/{id}/modules'; parameters: ListQuery; result: Page<HostModule> & { totals: Record<string, number> } };
  'host.vms': { http: 'GET'; path: '/v1/hosts/{id}/vms'; parameters: ListQuery; result: Page<ForeignVm> & { totals: Record<string, number> } };
  'host.move': { http: 'POST'; path: '/v1/hosts/{id}/move'; parameters: HostMove; result: Host };
  'host.adopt': { http: 'POST'; path: '/v1/hosts/{id}/adopt'; parameters: Empty; result: Job };
  'host.release': { http: 'POST'; path: '/v1/hosts/{id}/release'; parameters: Empty; result: Job };
  'host.maintenance': { http: 'POST'; path: '/v1/hosts/{id}/maintenance'; parameters: HostMaintenance; result: Job };
  'host.delete': { http: 'DELETE'; path: '/v1/hosts/{id}'; parameters: Empty; result: Empty };
  'pool.list': { http: 'GET'; path: '/v1/pools'; parameters: ListQuery; result: Page<Pool> };
  'pool.get': { http: 'GET'; path: '/v1/pools/{id}'; parameters: Empty; result: Pool };
  'pool.create': { http: 'POST'; path: '/v1/pools'; parameters: Pool; result: Pool };
  'pool.update': { http: 'PATCH'; path: '/v1/pools/{id}'; parameters: Pool; result: Pool };
  'pool.balance': { http: 'POST'; path: '/v1/pools/{id}/balance'; parameters: PoolBalance; result: Job };
  'pool.save-power': { http: 'POST'; path: '/v1/pools/{id}/save-power'; parameters: PoolSaving; result: Job };
  'pool.delete': { http: 'DELETE'; path: '/v1/pools/{id}'; parameters: Empty; result: Empty };
  'repository.list': { http: 'GET'; path: '/v1/repositories'; parameters: ListQuery; result: Page<Repository> };
  'repository.get': { http: 'GET'; path: '/v1/repositories/{id}'; parameters: Empty; result: Repository };
  'repository.create': { http: 'POST'; path: '/v1/repositories'; parameters: Repository; result: Job };
  'repository.delete': { http: 'DELETE'; path: '/v1/repositories/{id}'; parameters: Empty; result: Job };
  'network.list': { http: 'GET'; path: '/v1/networks'; parameters: ListQuery; result: Page<Network> };
  'network.get': { http: 'GET'; path: '/v1/networks/{id}'; parameters: Empty; result: Network };
  'network.create': { http: 'POST'; path: '/v1/networks'; parameters: Network; result: Job };
  'network.update': { http: 'PATCH'; path: '/v1/networks/{id}'; parameters: Network; result: Job };
  'network.delete': { http: 'DELETE'; path: '/v1/networks/{id}'; parameters: Empty; result: Job };
  'disk.list': { http: 'GET'; path: '/v1/disks'; parameters: ListQuery; result: Page<DiskRow> };
  'nic.list': { http: 'GET'; path: '/v1/nics'; parameters: ListQuery; result: Page<NicRow> };
  'match.list': { http: 'GET'; path: '/v1/matches'; parameters: ListQuery; result: Page<Match> };
  'job.list': { http: 'GET'; path: '/v1/jobs'; parameters: ListQuery; result: Page<Job> };
  'job.get': { http: 'GET'; path: '/v1/jobs/{id}'; parameters: Empty; result: Job };
  'job.cancel': { http: 'POST'; path: '/v1/jobs/{id}/cancel'; parameters: Empty; result: Job };
  'job.break': { http: 'POST'; path: '/v1/jobs/{id}/break'; parameters: JobBreak; result: Job };
  'event.list': { http: 'GET'; path: '/v1/events'; parameters: ListQuery; result: Page<Event> };
  'event.watch': { http: 'GET'; path: '/v1/events/watch'; parameters: Empty; result: Event };
  'principal.list': { http: 'GET'; path: '/v1/principals'; parameters: ListQuery; result: Page<Principal> };
  'principal.get': { http: 'GET'; path: '/v1/principals/{id}'; parameters: Empty; result: Principal };
  'principal.create': { http: 'POST'; path: '/v1/principals'; parameters: Principal; result: Principal };
  'principal.update': { http: 'PATCH'; path: '/v1/principals/{id}'; parameters: Principal; result: Principal };
  'principal.delete': { http: 'DELETE'; path: '/v1/principals/{id}'; parameters: Empty; result: Empty };
  'token.list': { http: 'GET'; path: '/v1/tokens'; parameters: ListQuery; result: Page<Token> };
  'token.create': { http: 'POST'; path: '/v1/tokens'; parameters: Token; result: Token };
  'token.delete': { http: 'DELETE'; path: '/v1/tokens/{id}'; parameters: Empty; result: Empty };
  'system.recovery-kit': { http: 'POST'; path: '/v1/system/recovery-kit'; parameters: RecoveryAsk; result: RecoveryKit };
  'system.rebuild': { http: 'POST'; path: '/v1/system/rebuild'; parameters: SystemRebuild; result: Job };
  'system.info': { http: 'GET'; path: '/v1/system'; parameters: Empty; result: SystemInfo };
  'system.backup': { http: 'GET'; path: '/v1/system/backup'; parameters: Empty; result: SystemInfo };
  'system.restore': { http: 'POST'; path: '/v1/system/restore'; parameters: Empty; result: SystemInfo };
  'system.login': { http: 'POST'; path: '/v1/system/login'; parameters: Login; result: Token };
  'vm.list': { http: 'GET'; path: '/v1/vms'; parameters: ListQuery; result: Page<Vm> };
  'vm.get': { http: 'GET'; path: '/v1/vms/{id}'; parameters: Empty; result: Vm };
  'vm.create': { http: 'POST'; path: '/v1/vms'; parameters: VmCreate; result: Job };
  'vm.update': { http: 'PATCH'; path: '/v1/vms/{id}'; parameters: Vm; result: Job };
  'vm.delete': { http: 'DELETE'; path: '/v1/vms/{id}'; parameters: VmDelete; result: Job };
  'vm.start': { http: 'POST'; path: '/v1/vms/{id}/start'; parameters: Empty; result: Job };
  'vm.stop': { http: 'POST'; path: '/v1/vms/{id}/stop'; parameters: VmStop; result: Job };
  'vm.migrate': { http: 'POST'; path: '/v1/vms/{id}/migrate'; parameters: VmMigrate; result: Job };
  'vm.kill': { http: 'POST'; path: '/v1/vms/{id}/kill'; parameters: Empty; result: Job };
  'vm.reset': { http: 'POST'; path: '/v1/vms/{id}/reset'; parameters: Empty; result: Job };
  'vm.pause': { http: 'POST'; path: '/v1/vms/{id}/pause'; parameters: Empty; result: Job };
  'vm.resume': { http: 'POST'; path: '/v1/vms/{id}/resume'; parameters: Empty; result: Job };
  'vm.save': { http: 'POST'; path: '/v1/vms/{id}/save'; parameters: Empty; result: Job };
  'vm.adopt': { http: 'POST'; path: '/v1/vms/adopt'; parameters: VmAdopt; result: Job };
  'vm.clone': { http: 'POST'; path: '/v1/vms/{id}/clone'; parameters: VmClone; result: Job };
  'vm.modes': { http: 'GET'; path: '/v1/vms/{id}/modes'; parameters: ListQuery; result: Page<VmFit> & { totals: Record<string, number> } };
  'vm.statistics': { http: 'GET'; path: '/v1/vms/{id}/statistics'; parameters: Empty; result: VmStatistics };
  'vm.console': { http: 'GET'; path: '/v1/vms/{id}/console'; parameters: Empty; result: Vm };
  'vm.attach-disk': { http: 'POST'; path: '/v1/vms/{id}/attach-disk'; parameters: VmDisk; result: Job };
  'vm.detach-disk': { http: 'POST'; path: '/v1/vms/{id}/detach-disk'; parameters: VmDiskDetach; result: Job };
  'vm.resize-disk': { http: 'POST'; path: '/v1/vms/{id}/resize-disk'; parameters: VmDiskResize; result: Job };
  'vm.attach-nic': { http: 'POST'; path: '/v1/vms/{id}/attach-nic'; parameters: Nic; result: Job };
  'vm.detach-nic': { http: 'POST'; path: '/v1/vms/{id}/detach-nic'; parameters: VmNicDetach; result: Job };
  'vm.change-nic': { http: 'POST'; path: '/v1/vms/{id}/change-nic'; parameters: VmNicChange; result: Job };
  'vm.insert-iso': { http: 'POST'; path: '/v1/vms/{id}/insert-iso'; parameters: VmIsoInsert; result: Job };
  'vm.eject-iso': { http: 'POST'; path: '/v1/vms/{id}/eject-iso'; parameters: VmIsoEject; result: Job };
}
