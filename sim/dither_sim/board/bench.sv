// A board's core behind registers for its inputs, so that there is nothing to evaluate but clock edges.

module bench (
    input  logic clk,
    input  logic rst,
    input  logic rx,
    output logic tx,
    output logic busy,
    output logic error,
    output logic session
);
    logic reset = 1, line = 1;

    always_ff @(posedge clk) begin
        reset <= rst;
        line  <= rx;
    end

    board board (
        .clk(clk),
        .rst(reset),
        .reset(1'b0),
        .rx(line),
        .tx(tx),
        .busy(busy),
        .error(error),
        .session(session)
    );
endmodule
