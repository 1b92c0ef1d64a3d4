// The engine behind registers for all of its inputs, which the harness drives. Were it to drive the engine itself, all
// logic that depends on an input (every register's reset among it) would have to be evaluated apart from the clock edges.

module bench #(parameter BEAT_WIDTH = 36) (
    input  logic                  clk,
    input  logic                  rst,
    input  logic [15:0]           host_addr,
    input  logic                  host_write,
    input  logic [31:0]           host_wdata,
    output logic [31:0]           host_rdata,
    input  logic                  input_valid,
    output logic                  input_ready,
    input  logic [BEAT_WIDTH-1:0] input_payload,
    output logic                  output_valid,
    input  logic                  output_ready,
    output logic [BEAT_WIDTH-1:0] output_payload
);
    logic                  reset, write, offering, willing;
    logic [15:0]           address;
    logic [31:0]           data;
    logic [BEAT_WIDTH-1:0] offer;

    always_ff @(posedge clk) begin
        reset    <= rst;
        address  <= host_addr;
        write    <= host_write;
        data     <= host_wdata;
        offering <= input_valid;
        willing  <= output_ready;
        if (input_valid) offer <= input_payload;
    end

    engine engine (
        .clk(clk),
        .rst(reset),
        .reset(1'b0),
        .host_addr(address),
        .host_write(write),
        .host_wdata(data),
        .host_rdata(host_rdata),
        .input__valid(offering),
        .input__ready(input_ready),
        .input__payload(offer),
        .output__valid(output_valid),
        .output__ready(willing),
        .output__payload(output_payload)
    );
endmodule
