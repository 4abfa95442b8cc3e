# A session with Net::Amazon::EC2: argv = endpoint, access key, secret. Prints what it saw, a line each.
use strict;
use warnings;
use Net::Amazon::EC2;

my ($endpoint, $key, $secret) = @ARGV;
my $ec2 = Net::Amazon::EC2->new(base_url => $endpoint, AWSAccessKeyId => $key, SecretAccessKey => $secret, region => 'nimbus', return_errors => 1);
sub saw { my ($what, @seen) = @_; print join(' ', $what, map { $_ // 'undef' } @seen), "\n"; }

saw('regions', map { $_->region_name } @{ $ec2->describe_regions });
saw('zones', map { $_->zone_name } @{ $ec2->describe_availability_zones });
my ($image) = grep { $_->name eq 'guest' } @{ $ec2->describe_images };
saw('material', $ec2->create_key_pair(KeyName => 'net-amazon')->key_material =~ /^-----BEGIN/ ? 'pem' : 'none');
my $made = $ec2->run_instances(ImageId => $image->image_id, MinCount => 1, MaxCount => 1, KeyName => 'net-amazon', InstanceType => 'm1.small');
my $id = $made->instances_set->[0]->instance_id;
my $instance = $ec2->describe_instances(InstanceId => $id)->[0]->instances_set->[0];
saw('running', $instance->instance_state->name, $instance->ip_address, $instance->key_name);
saw('tagged', $ec2->create_tags(ResourceId => $id, Tags => { Name => 'x y', 'nimbus:duration' => '3h' }));
saw('tags', sort map { $_->key . '=' . $_->value } grep { $_->resource_id eq $id } @{ $ec2->describe_tags });
saw('console', $ec2->get_console_output(InstanceId => $id)->output =~ /banner of $id/ ? 'banner' : 'none');
saw('rebooted', $ec2->reboot_instances(InstanceId => $id));
saw('terminated', map { $_->current_state->name } @{ $ec2->terminate_instances(InstanceId => $id) });
saw('error', $ec2->describe_instances(InstanceId => 'i-00000000')->errors->[0]->code);
saw('deleted', $ec2->delete_key_pair(KeyName => 'net-amazon'));
