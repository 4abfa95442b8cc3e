# A session with VM::EC2: argv = endpoint, access key, secret. Prints what it saw, a line each.
use strict;
use warnings;
use VM::EC2;

my ($endpoint, $key, $secret) = @ARGV;
my $ec2 = VM::EC2->new(-endpoint => $endpoint, -access_key => $key, -secret_key => $secret, -print_error => 0, -raise_error => 0);
sub saw { my ($what, @seen) = @_; print join(' ', $what, map { $_ // 'undef' } @seen), "\n"; }

saw('regions', $ec2->describe_regions);
my ($image) = $ec2->describe_images(-filter => { name => 'guest' });
my $pair = $ec2->create_key_pair('vm-ec2');
saw('material', $pair->privateKey =~ /^-----BEGIN/ ? 'pem' : 'none');
my ($instance) = $ec2->run_instances(-image_id => "$image", -min_count => 1, -key_name => 'vm-ec2', -instance_type => 'm1.small', -user_data => "hello\n") or die $ec2->error_str;
$ec2->wait_for_instances($instance);
saw('running', $instance->current_state, $instance->ipAddress, $instance->keyName);
saw('tagged', $instance->add_tags(Name => 'x y', 'nimbus:duration' => '3h'));
$instance->refresh;
saw('tags', map { $_ . '=' . $instance->tags->{$_} } grep { $_ ne 'nimbus:ends' } sort keys %{ $instance->tags });
saw('console', $instance->console_output =~ /banner of $instance/ ? 'banner' : 'none');
saw('rebooted', $instance->reboot);
saw('terminated', $instance->terminate);
$ec2->describe_instances('i-00000000');
saw('error', $ec2->error->code);
saw('deleted', $ec2->delete_key_pair('vm-ec2'));
